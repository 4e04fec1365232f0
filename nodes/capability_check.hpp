#pragma once
// Whether the models can do what the recipe asks, before anything costs.
#include <optional>
#include <string>
#include <vector>

#include "nodes/recipe.hpp"
#include "ports/sampling/sampling_client.hpp"
#include "ports/training/training_client.hpp"

namespace pipestill {

/// Errors are ErrorCode::invalid_input and name the recipe's key, what is missing, and what would be accepted.
[[nodiscard]] Result<void> check_teacher(const Recipe& recipe, const SamplingCapabilities& teacher);
[[nodiscard]] Result<void> check_student(const Recipe& recipe, const TrainingCapabilities& student);

/// Why the same recipe may give other bytes next time; empty: it will not, on the same machine and libraries. Without a teacher:
/// supervised.
[[nodiscard]] std::vector<std::string> nondeterminism(Method method, const std::optional<SamplingCapabilities>& teacher,
                                                      const TrainingCapabilities& student,
                                                      const std::optional<SamplingCapabilities>& snapshot);

}  // namespace pipestill
