#include "ports/embedded/capabilities.hpp"

namespace pipestill::embedded {

SamplingCapabilities sampling_capabilities() {
  return {.is_seeded = true, .is_deterministic = true, .has_logprobs = true, .has_prompt_logprobs = true, .max_top_k = kMaxTopK};
}

TrainingCapabilities training_capabilities() {
  return {.losses = {"cross_entropy"},
          .normalizations = {Normalization::token_mean, Normalization::seq_mean, Normalization::sum},
          .is_deterministic = true,
          .can_sample_snapshots_in_training = false};
}

}  // namespace pipestill::embedded
