#pragma once
// The differentiable operations of the decoder, each one autograd function over the kernels. Private to decoder_loss.cpp.
//
// Activations are [rows, width], row-major. A function that needs more than tensors takes a pointer to the pass, which
// outlives the backward pass and travels through the graph as a number.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/variable.h>

#include <cstdint>
#include <type_traits>
#include <utility>

#include "ports/embedded/decoder_loss.hpp"
#include "ports/embedded/gemm.hpp"
#include "ports/embedded/kernels.hpp"
#include "ports/embedded/parallel.hpp"

namespace pipestill::embedded::functions {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

inline constexpr std::int64_t kRowBlock = 64;  ///< rows of a row-wise kernel given to one thread at a time

template <class T>
at::ScalarType scalar_type() {
  return std::is_same_v<T, float> ? at::kFloat : at::kDouble;
}
template <class T>
Tensor uninitialised(std::int64_t rows, std::int64_t width) {
  return at::empty({rows, width}, scalar_type<T>());
}
template <class T>
void remember(AutogradContext* ctx, const Pass<T>* pass) {
  ctx->saved_data["pass"] = static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(pass));
}
template <class T>
const Pass<T>& recall(AutogradContext* ctx) {
  return *reinterpret_cast<const Pass<T>*>(static_cast<std::intptr_t>(ctx->saved_data["pass"].toInt()));
}

/// x w^T, added to `y` if that is defined. Every float32 product of training goes to gemm; float64 to ATen.
template <class T>
Tensor product(const Tensor& x, const Tensor& w, Tensor y, const Pass<T>& pass) {
  if constexpr (std::is_same_v<T, float>) {
    const auto result = y.defined() ? gemm::Result::add : gemm::Result::overwrite;
    if (!y.defined()) y = uninitialised<T>(x.size(0), w.size(0));
    gemm::forward(x.data_ptr<T>(), w.data_ptr<T>(), y.template data_ptr<T>(), x.size(0), static_cast<int>(x.size(1)),
                  static_cast<int>(w.size(0)), result, gemm::Storage::exact, pass.threads);
    return y;
  } else {
    const auto fresh = at::mm(x, w.t());
    return y.defined() ? fresh + y : fresh;
  }
}
/// Its gradients by x and w.
template <class T>
std::pair<Tensor, Tensor> product_backward(const Tensor& x, const Tensor& w, const Tensor& dy, const Pass<T>& pass) {
  if constexpr (std::is_same_v<T, float>) {
    const int in = static_cast<int>(x.size(1)), out = static_cast<int>(w.size(0));
    auto dx = at::empty_like(x), dw = at::empty_like(w);
    gemm::backward_input(dy.data_ptr<T>(), w.data_ptr<T>(), dx.template data_ptr<T>(), x.size(0), in, out, pass.threads);
    gemm::backward_weight(dy.data_ptr<T>(), x.data_ptr<T>(), dw.template data_ptr<T>(), x.size(0), in, out, pass.threads);
    return {dx, dw};
  } else {
    return {at::mm(dy, w), at::mm(dy.t(), x)};
  }
}

/// x w^T
template <class T>
struct Linear : Function<Linear<T>> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& w, const Pass<T>* pass) {
    ctx->save_for_backward({x, w});
    remember(ctx, pass);
    return product<T>(x, w, Tensor(), *pass);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const auto saved = ctx->get_saved_variables();
    auto [dx, dw] = product_backward<T>(saved[0], saved[1], gradients[0].contiguous(), recall<T>(ctx));
    return {dx, dw, Tensor()};
  }
};

/// x w^T + residual
template <class T>
struct LinearAdd : Function<LinearAdd<T>> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& w, const Tensor& residual, const Pass<T>* pass) {
    ctx->save_for_backward({x, w});
    remember(ctx, pass);
    return product<T>(x, w, residual.clone(), *pass);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const auto saved = ctx->get_saved_variables();
    const auto dy = gradients[0].contiguous();
    auto [dx, dw] = product_backward<T>(saved[0], saved[1], dy, recall<T>(ctx));
    return {dx, dw, dy, Tensor()};
  }
};

/// Rows of the embedding, one a token of the batch.
template <class T>
struct Embed : Function<Embed<T>> {
  static Tensor forward(AutogradContext* ctx, const Tensor& table, const Pass<T>* pass);
  static variable_list backward(AutogradContext* ctx, const variable_list& gradients);
};

template <class T>
struct RmsNorm : Function<RmsNorm<T>> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& w, const Pass<T>* pass);
  static variable_list backward(AutogradContext* ctx, const variable_list& gradients);
};

/// RMSNorm of each query and key head in rows of [queries, keys, values].
template <class T>
struct HeadNorm : Function<HeadNorm<T>> {
  static Tensor forward(AutogradContext* ctx, const Tensor& qkv, const Tensor& query_norm, const Tensor& key_norm, const Pass<T>* pass);
  static variable_list backward(AutogradContext* ctx, const variable_list& gradients);
};

template <class T>
struct SwiGlu : Function<SwiGlu<T>> {
  static Tensor forward(AutogradContext* ctx, const Tensor& gate_up, const Pass<T>* pass);
  static variable_list backward(AutogradContext* ctx, const variable_list& gradients);
};

/// The rows at the batch's targets.
template <class T>
struct KeepTargets : Function<KeepTargets<T>> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Pass<T>* pass);
  static variable_list backward(AutogradContext* ctx, const variable_list& gradients);
};

/// Rotary causal attention over rows of [queries, keys, values]; with `targets_only` the queries at targets alone.
template <class T>
struct Attention : Function<Attention<T>> {
  static Tensor forward(AutogradContext* ctx, const Tensor& qkv, bool targets_only, const Pass<T>* pass);
  static variable_list backward(AutogradContext* ctx, const variable_list& gradients);
};

/// The batch's loss from logits [positions, vocab_size], added to `value` in double.
template <class T>
struct CrossEntropy : Function<CrossEntropy<T>> {
  static Tensor forward(AutogradContext* ctx, const Tensor& logits, double* value, const Pass<T>* pass);
  static variable_list backward(AutogradContext* ctx, const variable_list& gradients);
};

extern template struct Attention<float>;
extern template struct Attention<double>;

}  // namespace pipestill::embedded::functions
