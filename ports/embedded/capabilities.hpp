#pragma once
// What the embedded models can do; needs no libtorch.
#include "ports/sampling/sampling_client.hpp"
#include "ports/training/training_client.hpp"

namespace pipestill::embedded {

inline constexpr int kMaxTopK = 64;  ///< entries a position that compute_logprobs gives

[[nodiscard]] SamplingCapabilities sampling_capabilities();
[[nodiscard]] TrainingCapabilities training_capabilities();

}  // namespace pipestill::embedded
