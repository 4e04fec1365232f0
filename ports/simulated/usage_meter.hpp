#pragma once
// What a simulated model's work has cost.
#include <mutex>

#include "graph/base/clock.hpp"
#include "ports/types.hpp"

namespace pipestill {

/// Sums the time with at least one request in service. Shared by a student and its snapshots. Thread-safe.
class UsageMeter {
 public:
  void begin_service(Clock::Time now);
  void end_service(Clock::Time now);
  void add_tokens(std::uint64_t tokens);
  /// Requests still in service count up to `now`.
  [[nodiscard]] ModelUsage read(Clock::Time now) const;

 private:
  mutable std::mutex mutex_;  // guards what follows
  ModelUsage usage_;
  int in_service_ = 0;
  Clock::Time busy_since_{};
};

}  // namespace pipestill
