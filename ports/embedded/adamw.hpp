#pragma once
// AdamW over flat arrays: its moments, and one step of it.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "graph/base/error.hpp"
#include "ports/training/training_client.hpp"

namespace pipestill::embedded {

/// Loshchilov and Hutter, arXiv 1711.05101, algorithm 2, with alpha = 1 and learning_rate as the schedule's multiplier, so that the decay
/// is learning_rate * weight_decay * weight, as in PyTorch. Before it the gradient's global norm is clipped (Pascanu, Mikolov and Bengio,
/// arXiv 1211.5063): multiplied by grad_clip_norm / norm if norm is above it. Not thread-safe. float runs; double is what tests compare it
/// with.
template <class T>
struct AdamW {
  std::vector<T> m, v;      ///< averages of the gradient and of its square, not corrected, laid out as the weights
  std::uint64_t steps = 0;  ///< behind m and v

  explicit AdamW(std::size_t size) : m(size), v(size) {}

  /// Changes weights, m and v, and returns the gradient's norm before clipping. ErrorCode::invalid_input for a parameter out of range,
  /// backend_failed for a gradient that is not finite; then nothing has changed. The result does not depend on `threads`.
  [[nodiscard]] Result<double> step(std::vector<T>& weights, const std::vector<T>& gradient, const AdamParams& params, int threads);
};

extern template struct AdamW<float>;
extern template struct AdamW<double>;

}  // namespace pipestill::embedded
