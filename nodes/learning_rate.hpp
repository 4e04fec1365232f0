#pragma once
// The learning rate of a step.
#include <cstdint>

#include "nodes/recipe.hpp"

namespace pipestill {

/// The learning rate of batch `step` (from 0) of `total_steps`: it rises in `warmup_steps` equal parts to the peak, then falls from the
/// peak at batch `warmup_steps` towards lr_min_ratio * peak, which it would reach at batch `total_steps`.
[[nodiscard]] double learning_rate(const Recipe::Training& training, std::uint64_t step, std::uint64_t total_steps);

}  // namespace pipestill
