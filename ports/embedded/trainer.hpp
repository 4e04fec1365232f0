#pragma once
// The training port over a Student: one compute thread, operations in the order of the calls.
#include <memory>

#include "ports/embedded/sampler.hpp"
#include "ports/embedded/weights.hpp"
#include "ports/training/training_client.hpp"

namespace pipestill::embedded {

/// `tokenizer` is for the stop strings of snapshots' samplers; may be null.
[[nodiscard]] std::unique_ptr<TrainingSession> make_training_session(Weights weights, Workplace place,
                                                                     std::shared_ptr<const Tokenizer> tokenizer);

}  // namespace pipestill::embedded
