#pragma once
// Training: the loss of a packed batch as a differentiable function of the parameters.
#include <ATen/ATen.h>

#include <vector>

#include "ports/embedded/packed_batch.hpp"
#include "ports/embedded/weights.hpp"

namespace pipestill::embedded {

/// Autograd leaves over a flat array and a flat gradient, which they borrow; matrices that share an input are one leaf.
/// Gradients are added to the flat gradient.
template <class T>
struct Parameters {
  struct Layer {
    at::Tensor input_norm, qkv, query_norm, key_norm, output, post_norm, gate_up, down;
  };
  at::Tensor embedding, final_norm;
  at::Tensor head;  ///< the embedding itself if tied
  std::vector<Layer> layers;

  Parameters(const ModelLayout& layout, T* flat, T* gradient);
};

/// What a pass works on. Borrowed, and alive until the backward pass is over.
template <class T>
struct Pass {
  const ModelLayout& layout;
  const RotaryTable<T>& rotary;
  const PackedBatch& batch;
  int threads = 1;
};

struct LossValue {
  at::Tensor differentiable;  ///< float64, one element
  double value = 0;
};

/// Cross-entropy, weighted as the batch says, added to `before` position by position, in order and in double: with the sum over earlier
/// micro-batches there, it is the sum over all of them as if they were one. Logits exist at targets alone; in the last layer so does
/// everything behind the attention's keys and values. Throws what ATen throws.
/// float runs; double is for finite differences.
template <class T>
[[nodiscard]] LossValue decoder_loss(const Parameters<T>& parameters, const Pass<T>& pass, double before = 0);
template <class T>
LossValue decoder_loss(const Parameters<T>& parameters, const Pass<T>&& pass, double before = 0) = delete;  // gone before the backward pass

extern template struct Parameters<float>;
extern template struct Parameters<double>;
extern template LossValue decoder_loss(const Parameters<float>&, const Pass<float>&, double);
extern template LossValue decoder_loss(const Parameters<double>&, const Pass<double>&, double);

}  // namespace pipestill::embedded
