#include "ports/embedded/rotary.hpp"

#include <cmath>
#include <numbers>

namespace pipestill {
namespace {

double scaled(double f, const RopeScaling& scaling) {
  switch (scaling.kind) {
    case RopeScaling::Kind::none:
      return f;
    case RopeScaling::Kind::linear:
      return f / scaling.factor;
    case RopeScaling::Kind::llama3:
      break;
  }
  const double turns = scaling.original_max_position_embeddings * f / (2 * std::numbers::pi);  // L / w: within the original context
  if (turns > scaling.high_freq_factor) return f;
  if (turns < scaling.low_freq_factor) return f / scaling.factor;
  const double smooth = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
  return (1 - smooth) * f / scaling.factor + smooth * f;
}

}  // namespace

std::vector<double> rotary_frequencies(const ModelConfig& config) {
  std::vector<double> frequencies;
  for (int j = 0; j < config.head_dim / 2; ++j)
    frequencies.push_back(scaled(std::pow(config.rope_theta, -2.0 * j / config.head_dim), config.rope_scaling));
  return frequencies;
}

}  // namespace pipestill
