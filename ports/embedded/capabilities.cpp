#include "ports/embedded/capabilities.hpp"

namespace pipestill::embedded {

KeyInfo compute_threads_key() {
  return {.name = "compute_threads",
          .type = KeyInfo::Type::integer,
          .default_value = "1",
          .help = "threads for one operation of the model; changes no result",
          .minimum = 1,
          .maximum = 256};
}

SamplingCapabilities sampling_capabilities() {
  return {.is_seeded = true,
          .is_deterministic = true,
          .has_logprobs = true,
          .has_prompt_logprobs = true,
          .max_top_k = kMaxTopK,
          .can_stream = true};
}

TrainingCapabilities training_capabilities() {
  return {.losses = {"cross_entropy"},
          .normalizations = {Normalization::token_mean, Normalization::seq_mean, Normalization::sum},
          .has_soft_targets = true,
          .has_micro_batches = true,
          .is_deterministic = true,
          .can_sample_snapshots_in_training = false};
}

}  // namespace pipestill::embedded
