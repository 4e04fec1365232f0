#pragma once
// How long a simulated model takes.
#include <chrono>
#include <cstdint>

#include "graph/base/error.hpp"

namespace pipestill {

struct LatencyOptions {
  enum class Distribution {
    fixed,      ///< mean_ms
    uniform,    ///< between min_ms and max_ms
    lognormal,  ///< with this mean; sigma is the standard deviation of the logarithm
  };
  Distribution distribution = Distribution::fixed;
  double mean_ms = 20;
  double min_ms = 0, max_ms = 40;
  double sigma = 0.5;
  double straggler_rate = 0;     ///< share of requests, in [0, 1], ...
  double straggler_factor = 10;  ///< ... that take so many times as long
  std::uint64_t seed = 0;

  /// ErrorCode::invalid_input, naming the field.
  [[nodiscard]] Result<void> validate() const;
};

/// Immutable and thread-safe.
class LatencyModel {
 public:
  /// `options` are valid.
  explicit LatencyModel(LatencyOptions options) : options_(options) {}
  /// The time for the request with this seed: a function of the latency's seed and this one alone.
  [[nodiscard]] std::chrono::nanoseconds draw(std::uint64_t seed) const;

 private:
  const LatencyOptions options_;
};

}  // namespace pipestill
