#include "nodes/learning_rate.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace pipestill {

double learning_rate(const Recipe::Training& training, std::uint64_t step, std::uint64_t total_steps) {
  const double peak = training.adam.learning_rate;
  if (step < training.warmup_steps) return peak * static_cast<double>(step + 1) / static_cast<double>(training.warmup_steps);
  const std::uint64_t falling_steps = total_steps > training.warmup_steps ? total_steps - training.warmup_steps : 1;
  const double progress = std::min(1.0, static_cast<double>(step - training.warmup_steps) / static_cast<double>(falling_steps));
  double above_minimum = 1;
  switch (training.lr_schedule) {
    case LearningRateSchedule::constant:
      return peak;
    case LearningRateSchedule::linear:
      above_minimum = 1 - progress;
      break;
    case LearningRateSchedule::cosine:
      above_minimum = 0.5 * (1 + std::cos(std::numbers::pi * progress));
      break;
  }
  return peak * (training.lr_min_ratio + (1 - training.lr_min_ratio) * above_minimum);
}

}  // namespace pipestill
