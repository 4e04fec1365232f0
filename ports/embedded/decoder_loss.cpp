#include "ports/embedded/decoder_loss.hpp"

#include "ports/embedded/functions.hpp"

namespace pipestill::embedded {

template <class T>
Parameters<T>::Parameters(const ModelLayout& layout, T* flat, T* gradient) {
  const auto leaf = [&](std::int64_t offset, std::vector<std::int64_t> shape) {
    const auto options = at::TensorOptions(functions::scalar_type<T>());
    auto parameter = at::from_blob(flat + offset, shape, options);
    parameter.set_requires_grad(true);
    parameter.mutable_grad() = at::from_blob(gradient + offset, shape, options);
    return parameter;
  };
  const auto& c = layout.config;
  const std::int64_t d = c.hidden_size, ff = c.intermediate_size;
  embedding = leaf(layout.embedding, {c.vocab_size, d});
  for (const auto& at : layout.layers) {
    Layer layer;
    layer.input_norm = leaf(at.input_norm, {d});
    layer.qkv = leaf(at.qkv, {layout.qkv_width(), d});
    if (c.has_head_norms()) {
      layer.query_norm = leaf(at.query_norm, {c.head_dim});
      layer.key_norm = leaf(at.key_norm, {c.head_dim});
    }
    layer.output = leaf(at.output, {d, layout.attention_width()});
    layer.post_norm = leaf(at.post_norm, {d});
    layer.gate_up = leaf(at.gate_up, {2 * ff, d});
    layer.down = leaf(at.down, {d, ff});
    layers.push_back(layer);
  }
  final_norm = leaf(layout.final_norm, {d});
  head = c.tie_word_embeddings ? embedding : leaf(layout.head, {c.vocab_size, d});
}

template <class T>
LossValue decoder_loss(const Parameters<T>& parameters, const Pass<T>& pass, double before) {
  namespace f = functions;
  auto x = f::Embed<T>::apply(parameters.embedding, &pass);
  for (const auto& layer : parameters.layers) {
    const bool is_last = &layer == &parameters.layers.back();
    auto qkv = f::Linear<T>::apply(f::RmsNorm<T>::apply(x, layer.input_norm, &pass), layer.qkv, &pass);
    if (layer.query_norm.defined()) qkv = f::HeadNorm<T>::apply(qkv, layer.query_norm, layer.key_norm, &pass);
    const auto attended = f::Attention<T>::apply(qkv, is_last, &pass);
    if (is_last) x = f::KeepTargets<T>::apply(x, &pass);
    x = f::LinearAdd<T>::apply(attended, layer.output, x, &pass);
    const auto gate_up = f::Linear<T>::apply(f::RmsNorm<T>::apply(x, layer.post_norm, &pass), layer.gate_up, &pass);
    x = f::LinearAdd<T>::apply(f::SwiGlu<T>::apply(gate_up, &pass), layer.down, x, &pass);
  }
  const auto logits = f::Linear<T>::apply(f::RmsNorm<T>::apply(x, parameters.final_norm, &pass), parameters.head, &pass);
  LossValue loss{.differentiable = {}, .value = before};
  loss.differentiable = f::CrossEntropy<T>::apply(logits, &loss.value, &pass);
  return loss;
}

template struct Parameters<float>;
template struct Parameters<double>;
template LossValue decoder_loss(const Parameters<float>&, const Pass<float>&, double);
template LossValue decoder_loss(const Parameters<double>&, const Pass<double>&, double);

}  // namespace pipestill::embedded
