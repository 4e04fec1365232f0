#pragma once
// Whether the models can do what the recipe asks, before anything costs.
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "nodes/recipe.hpp"
#include "ports/sampling/sampling_client.hpp"
#include "ports/tokenizer/tokenizer.hpp"
#include "ports/training/training_client.hpp"

namespace pipestill {

/// Errors are ErrorCode::invalid_input and name the recipe's key, what is missing, and what would be accepted.
[[nodiscard]] Result<void> check_teacher(const Recipe& recipe, const Recipe::Teacher& teacher, const SamplingCapabilities& capabilities);
/// In every method that has a teacher the two share tokens: the teacher reads prompts in the student's, and its answers, or those that it
/// scores, are trained on as they are. So its own tokenizer must be the student's, by fingerprint, where its client knows it.
[[nodiscard]] Result<void> check_shared_tokens(const Recipe& recipe, const Recipe::Teacher& teacher, const SamplingClient& client, const Tokenizer& students);
/// Every token of the tokenizer is one of the student's, where its client knows how many those are.
[[nodiscard]] Result<void> check_vocabulary(const Recipe& recipe, const TrainingClient& student, const Tokenizer& tokenizer);
[[nodiscard]] Result<void> check_student(const Recipe& recipe, const TrainingCapabilities& student);

/// Why the same recipe may give other bytes next time; empty: it will not, on the same machine and libraries. Teachers as in
/// Recipe::teachers().
[[nodiscard]] std::vector<std::string> nondeterminism(Method method, std::span<const SamplingCapabilities> teachers,
                                                      const TrainingCapabilities& student,
                                                      const std::optional<SamplingCapabilities>& snapshot);

}  // namespace pipestill
