#include "ports/simulated/latency.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <string>

#include "ports/dataset/numpy_random.hpp"

namespace pipestill {
namespace {

double draw_ms(const LatencyOptions& o, NumpyGenerator& random) {
  switch (o.distribution) {
    case LatencyOptions::Distribution::fixed:
      break;
    case LatencyOptions::Distribution::uniform:
      return o.min_ms + (o.max_ms - o.min_ms) * random.next_double();
    case LatencyOptions::Distribution::lognormal:
      // The mean of a log-normal variable is exp(mu + sigma^2 / 2).
      return o.mean_ms > 0 ? std::lognormal_distribution<double>(std::log(o.mean_ms) - o.sigma * o.sigma / 2, o.sigma)(random) : 0;
  }
  return o.mean_ms;
}

}  // namespace

Result<void> LatencyOptions::validate() const {
  constexpr double kLongest = 1e9;  // in ms; also keeps the sum of times below the range of nanoseconds
  const auto require = [](bool is_ok, const char* text) -> Result<void> {
    if (!is_ok) return fail(ErrorCode::invalid_input, std::string("latency.") + text);
    return {};
  };
  return require(mean_ms >= 0 && mean_ms <= kLongest, "mean_ms must be between 0 and 1e9")
      .and_then([&] {
        return require(min_ms >= 0 && min_ms <= max_ms && max_ms <= kLongest, "min_ms and max_ms must be 0 <= min_ms <= max_ms <= 1e9");
      })
      .and_then([&] { return require(sigma >= 0 && sigma <= 4, "sigma must be between 0 and 4"); })
      .and_then([&] { return require(straggler_rate >= 0 && straggler_rate <= 1, "straggler_rate must be between 0 and 1"); })
      .and_then([&] { return require(straggler_factor >= 0 && straggler_factor <= 1e6, "straggler_factor must be between 0 and 1e6"); });
}

std::chrono::nanoseconds LatencyModel::draw(std::uint64_t seed) const {
  const std::array<std::uint64_t, 1> key{seed};
  NumpyGenerator random(SeedSequence(options_.seed, key));
  const bool is_straggler = random.next_double() < options_.straggler_rate;
  const double ms = draw_ms(options_, random) * (is_straggler ? options_.straggler_factor : 1);
  return std::chrono::nanoseconds(std::llround(std::min(ms, 1e12) * 1e6));
}

}  // namespace pipestill
