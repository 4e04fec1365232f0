#include "ports/embedded/model_layout.hpp"

#include <cmath>
#include <utility>

#include "ports/embedded/safetensors.hpp"

namespace pipestill {

ModelLayout make_layout(const ModelConfig& c) {
  ModelLayout layout;
  layout.config = c;
  const auto place = [&layout](std::string name, std::vector<std::int64_t> shape, double init_std) {
    std::int64_t count = 1;
    for (const auto n : shape) count *= n;
    const auto offset = layout.total;
    layout.tensors.push_back({std::move(name), std::move(shape), offset, count, init_std});
    layout.total += count;
    return offset;
  };
  const std::int64_t d = c.hidden_size, hd = c.head_dim, ff = c.intermediate_size;
  const std::int64_t query = c.num_attention_heads * hd, key = c.num_key_value_heads * hd;
  const double in = 1 / std::sqrt(static_cast<double>(d));
  const double out = in / std::sqrt(2.0 * c.num_hidden_layers);

  layout.embedding = place("model.embed_tokens.weight", {c.vocab_size, d}, in);
  for (int i = 0; i < c.num_hidden_layers; ++i) {
    const std::string prefix = "model.layers." + std::to_string(i) + ".";
    LayerPlaces at;
    at.input_norm = place(prefix + "input_layernorm.weight", {d}, 0);
    at.qkv = place(prefix + "self_attn.q_proj.weight", {query, d}, in);
    place(prefix + "self_attn.k_proj.weight", {key, d}, in);
    place(prefix + "self_attn.v_proj.weight", {key, d}, in);
    if (c.has_head_norms()) {
      at.query_norm = place(prefix + "self_attn.q_norm.weight", {hd}, 0);
      at.key_norm = place(prefix + "self_attn.k_norm.weight", {hd}, 0);
    }
    at.output = place(prefix + "self_attn.o_proj.weight", {d, query}, out);
    at.post_norm = place(prefix + "post_attention_layernorm.weight", {d}, 0);
    at.gate_up = place(prefix + "mlp.gate_proj.weight", {ff, d}, in);
    place(prefix + "mlp.up_proj.weight", {ff, d}, in);
    at.down = place(prefix + "mlp.down_proj.weight", {d, ff}, out * std::sqrt(static_cast<double>(d) / static_cast<double>(ff)));
    layout.layers.push_back(at);
  }
  layout.final_norm = place("model.norm.weight", {d}, 0);
  layout.head = c.tie_word_embeddings ? layout.embedding : place("lm_head.weight", {c.vocab_size, d}, in);
  return layout;
}

}  // namespace pipestill
