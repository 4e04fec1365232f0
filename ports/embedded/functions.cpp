#include "ports/embedded/functions.hpp"

#include <algorithm>

namespace pipestill::embedded::functions {
namespace {

// The gradient of a norm's weight sums over rows: in this many parts, whatever the number of threads.
constexpr std::int64_t kWeightParts = 16;

template <class T>
T* data(const Tensor& t) {
  return t.data_ptr<T>();
}

/// Adds the rows of `parts` in order.
template <class T>
Tensor sum_parts(const Tensor& parts, std::int64_t width) {
  auto total = at::zeros({width}, scalar_type<T>());
  for (std::int64_t p = 0; p < parts.size(0); ++p)
    kernels::add(data<T>(parts) + p * parts.size(1), data<T>(total), static_cast<int>(width));
  return total;
}

}  // namespace

template <class T>
Tensor Embed<T>::forward(AutogradContext* ctx, const Tensor& table, const Pass<T>* pass) {
  remember(ctx, pass);
  const auto d = table.size(1);
  auto x = uninitialised<T>(static_cast<std::int64_t>(pass->batch.tokens.size()), d);
  auto* out = data<T>(x);
  for (const auto token : pass->batch.tokens) out = std::copy_n(data<T>(table) + token * d, d, out);
  return x;
}
template <class T>
variable_list Embed<T>::backward(AutogradContext* ctx, const variable_list& gradients) {
  const auto& pass = recall<T>(ctx);
  const auto dy = gradients[0].contiguous();
  const auto d = dy.size(1);
  auto d_table = at::zeros({pass.layout.config.vocab_size, d}, scalar_type<T>());
  const auto* g = data<T>(dy);
  for (const auto token : pass.batch.tokens) {  // tokens repeat: one thread, in order
    kernels::add(g, data<T>(d_table) + token * d, static_cast<int>(d));
    g += d;
  }
  return {d_table, Tensor()};
}

template <class T>
Tensor RmsNorm<T>::forward(AutogradContext* ctx, const Tensor& x, const Tensor& w, const Pass<T>* pass) {
  remember(ctx, pass);
  const auto n = x.size(0), d = x.size(1);
  auto y = at::empty_like(x), scale = at::empty({n}, scalar_type<T>());
  const auto eps = static_cast<T>(pass->layout.config.rms_norm_eps);
  for_blocks(pass->threads, n, kRowBlock, [&](std::int64_t begin, std::int64_t end) {
    kernels::rms_norm_forward(data<T>(x) + begin * d, data<T>(w), data<T>(y) + begin * d, data<T>(scale) + begin, end - begin,
                              static_cast<int>(d), eps);
  });
  ctx->save_for_backward({x, w, scale});
  return y;
}
template <class T>
variable_list RmsNorm<T>::backward(AutogradContext* ctx, const variable_list& gradients) {
  const auto saved = ctx->get_saved_variables();
  const auto &x = saved[0], &w = saved[1], &scale = saved[2];
  const auto dy = gradients[0].contiguous();
  const auto n = x.size(0), d = x.size(1), part = (n + kWeightParts - 1) / kWeightParts;
  auto dx = at::empty_like(x), parts = at::zeros({kWeightParts, d}, scalar_type<T>());
  for_blocks(recall<T>(ctx).threads, n, part, [&](std::int64_t begin, std::int64_t end) {
    kernels::rms_norm_backward(data<T>(x) + begin * d, data<T>(w), data<T>(scale) + begin, data<T>(dy) + begin * d, data<T>(dx) + begin * d,
                               data<T>(parts) + begin / part * d, end - begin, static_cast<int>(d));
  });
  return {dx, sum_parts<T>(parts, d), Tensor()};
}

template <class T>
Tensor HeadNorm<T>::forward(AutogradContext* ctx, const Tensor& qkv, const Tensor& query_norm, const Tensor& key_norm,
                            const Pass<T>* pass) {
  remember(ctx, pass);
  const auto& config = pass->layout.config;
  const int heads = config.num_attention_heads, kv_heads = config.num_key_value_heads, hd = config.head_dim;
  const auto eps = static_cast<T>(config.rms_norm_eps);
  auto y = qkv.clone();
  auto scale = uninitialised<T>(qkv.size(0), heads + kv_heads);
  for_blocks(pass->threads, qkv.size(0), kRowBlock, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) {
      auto* row = data<T>(y) + i * qkv.size(1);
      auto* s = data<T>(scale) + i * (heads + kv_heads);
      kernels::rms_norm_forward(row, data<T>(query_norm), row, s, heads, hd, eps);
      kernels::rms_norm_forward(row + heads * hd, data<T>(key_norm), row + heads * hd, s + heads, kv_heads, hd, eps);
    }
  });
  ctx->save_for_backward({qkv, query_norm, key_norm, scale});
  return y;
}
template <class T>
variable_list HeadNorm<T>::backward(AutogradContext* ctx, const variable_list& gradients) {
  const auto saved = ctx->get_saved_variables();
  const auto &x = saved[0], &query_norm = saved[1], &key_norm = saved[2], &scale = saved[3];
  const auto& pass = recall<T>(ctx);
  const auto& config = pass.layout.config;
  const int heads = config.num_attention_heads, kv_heads = config.num_key_value_heads, hd = config.head_dim;
  const auto n = x.size(0), width = x.size(1), part = (n + kWeightParts - 1) / kWeightParts;
  auto dx = gradients[0].clone();  // of the values as they are
  const auto dy = gradients[0].contiguous();
  auto query_parts = at::zeros({kWeightParts, hd}, scalar_type<T>()), key_parts = at::zeros({kWeightParts, hd}, scalar_type<T>());
  for_blocks(pass.threads, n, part, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) {
      const auto at = i * width, keys = at + heads * hd;
      const auto* s = data<T>(scale) + i * (heads + kv_heads);
      kernels::rms_norm_backward(data<T>(x) + at, data<T>(query_norm), s, data<T>(dy) + at, data<T>(dx) + at,
                                 data<T>(query_parts) + begin / part * hd, heads, hd);
      kernels::rms_norm_backward(data<T>(x) + keys, data<T>(key_norm), s + heads, data<T>(dy) + keys, data<T>(dx) + keys,
                                 data<T>(key_parts) + begin / part * hd, kv_heads, hd);
    }
  });
  return {dx, sum_parts<T>(query_parts, hd), sum_parts<T>(key_parts, hd), Tensor()};
}

template <class T>
Tensor SwiGlu<T>::forward(AutogradContext* ctx, const Tensor& gate_up, const Pass<T>* pass) {
  remember(ctx, pass);
  ctx->save_for_backward({gate_up});
  const auto n = gate_up.size(0), f = gate_up.size(1) / 2;
  auto y = uninitialised<T>(n, f);
  for_blocks(pass->threads, n, kRowBlock, [&](std::int64_t begin, std::int64_t end) {
    kernels::swiglu_forward(data<T>(gate_up) + begin * 2 * f, data<T>(y) + begin * f, end - begin, static_cast<int>(f));
  });
  return y;
}
template <class T>
variable_list SwiGlu<T>::backward(AutogradContext* ctx, const variable_list& gradients) {
  const auto gate_up = ctx->get_saved_variables()[0];
  const auto dy = gradients[0].contiguous();
  const auto f = dy.size(1);
  auto d_gate_up = at::empty_like(gate_up);
  for_blocks(recall<T>(ctx).threads, dy.size(0), kRowBlock, [&](std::int64_t begin, std::int64_t end) {
    kernels::swiglu_backward(data<T>(gate_up) + begin * 2 * f, data<T>(dy) + begin * f, data<T>(d_gate_up) + begin * 2 * f, end - begin,
                             static_cast<int>(f));
  });
  return {d_gate_up, Tensor()};
}

template <class T>
Tensor KeepTargets<T>::forward(AutogradContext* ctx, const Tensor& x, const Pass<T>* pass) {
  remember(ctx, pass);
  const auto d = x.size(1);
  auto y = uninitialised<T>(static_cast<std::int64_t>(pass->batch.positions.size()), d);
  auto* out = data<T>(y);
  for (const auto position : pass->batch.positions) out = std::copy_n(data<T>(x) + position * d, d, out);
  return y;
}
template <class T>
variable_list KeepTargets<T>::backward(AutogradContext* ctx, const variable_list& gradients) {
  const auto& batch = recall<T>(ctx).batch;
  const auto dy = gradients[0].contiguous();
  const auto d = dy.size(1);
  auto dx = at::zeros({static_cast<std::int64_t>(batch.tokens.size()), d}, scalar_type<T>());
  const auto* g = data<T>(dy);
  for (const auto position : batch.positions) {
    std::copy_n(g, d, data<T>(dx) + position * d);
    g += d;
  }
  return {dx, Tensor()};
}

template <class T>
Tensor CrossEntropy<T>::forward(AutogradContext* ctx, const Tensor& logits, double* value, const Pass<T>* pass) {
  const auto& batch = pass->batch;
  const auto n = logits.size(0), vocabulary = logits.size(1);
  // The gradient, sum of the coefficients * softmax - the coefficients at their targets, falls out of the same exponentials, so the
  // backward pass only hands it on.
  auto gradient = at::empty_like(logits);
  std::vector<double> losses(static_cast<std::size_t>(n));
  for_blocks(pass->threads, n, kRowBlock, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) {
      const auto row = static_cast<std::size_t>(i);
      const auto* z = data<T>(logits) + i * vocabulary;
      auto* g = data<T>(gradient) + i * vocabulary;
      const auto normaliser = kernels::exponentials(z, g, static_cast<int>(vocabulary), T(1));
      const double log_total = normaliser.value();
      const auto first = static_cast<std::size_t>(batch.entry_starts[row]), last = static_cast<std::size_t>(batch.entry_starts[row + 1]);
      double coefficients = 0;
      for (auto e = first; e < last; ++e) {
        coefficients += batch.coefficients[e];
        losses[row] += batch.coefficients[e] * (log_total - static_cast<double>(z[batch.targets[e]]));
      }
      kernels::scale(g, static_cast<T>(coefficients / normaliser.total), g, static_cast<int>(vocabulary));
      for (auto e = first; e < last; ++e) g[batch.targets[e]] -= static_cast<T>(batch.coefficients[e]);
    }
  });
  double total = *value;
  for (const double loss : losses) total += loss;
  *value = total;
  ctx->save_for_backward({gradient});
  return at::scalar_tensor(total, at::kDouble);
}
template <class T>
variable_list CrossEntropy<T>::backward(AutogradContext* ctx, const variable_list& gradients) {
  const auto gradient = ctx->get_saved_variables()[0];
  const auto factor = gradients[0].template item<double>();
  return {factor == 1 ? gradient : gradient * factor, Tensor(), Tensor()};
}

#define PIPESTILL_INSTANTIATE(T)  \
  template struct Embed<T>;       \
  template struct RmsNorm<T>;     \
  template struct HeadNorm<T>;    \
  template struct SwiGlu<T>;      \
  template struct KeepTargets<T>; \
  template struct CrossEntropy<T>;
PIPESTILL_INSTANTIATE(float)
PIPESTILL_INSTANTIATE(double)
#undef PIPESTILL_INSTANTIATE

}  // namespace pipestill::embedded::functions
