#include "ports/simulated/latency_keys.hpp"

#include <spdlog/fmt/fmt.h>

namespace pipestill {

std::vector<KeyInfo> latency_keys(const LatencyOptions& defaults) {
  using Type = KeyInfo::Type;
  const auto number = [](const char* name, double value, const char* help, double maximum) {
    return KeyInfo{
        .name = name, .type = Type::number, .default_value = fmt::format("{}", value), .help = help, .minimum = 0, .maximum = maximum};
  };
  return {
      {.name = "latency.distribution",
       .type = Type::string,
       .default_value = "\"fixed\"",
       .help = "how the time of a request is drawn",
       .choices = {"fixed", "uniform", "lognormal"}},
      number("latency.mean_ms", defaults.mean_ms, "time of a request, in ms (fixed, lognormal)", 1e9),
      number("latency.min_ms", defaults.min_ms, "shortest time, in ms (uniform)", 1e9),
      number("latency.max_ms", defaults.max_ms, "longest time, in ms (uniform)", 1e9),
      number("latency.sigma", defaults.sigma, "standard deviation of the time's logarithm (lognormal)", 4),
      number("latency.straggler_rate", defaults.straggler_rate, "share of requests that take longer", 1),
      number("latency.straggler_factor", defaults.straggler_factor, "how many times as long those take", 1e6),
      {.name = "latency.seed",
       .type = Type::integer,
       .default_value = fmt::format("{}", defaults.seed),
       .help = "seed of the times",
       .minimum = 0},
  };
}

}  // namespace pipestill
