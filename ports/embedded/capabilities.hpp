#pragma once
// What the embedded models can do; needs no libtorch.
#include "graph/base/description.hpp"
#include "ports/sampling/sampling_client.hpp"
#include "ports/training/training_client.hpp"

namespace pipestill::embedded {

inline constexpr int kMaxTopK = 64;  ///< entries a position that compute_logprobs gives

/// The recipe key that teacher and student have in common.
[[nodiscard]] KeyInfo compute_threads_key();
[[nodiscard]] SamplingCapabilities sampling_capabilities();
[[nodiscard]] TrainingCapabilities training_capabilities();

}  // namespace pipestill::embedded
