#pragma once
// Tally: where one stage's messages spend their time.
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include "graph/detail/spin_lock.hpp"
#include "graph/engine.hpp"

namespace pipestill::graph::detail {

/// Counts of durations in buckets whose width grows with the value: a quantile is right within 1/32.
/// Not thread-safe.
class DurationHistogram {
 public:
  void add(std::chrono::nanoseconds duration) {
    ++counts_[bucket_of(static_cast<std::uint64_t>(duration.count() < 0 ? 0 : duration.count()))];
    ++total_;
  }
  /// The smallest duration that at least `share` of the values do not exceed; 0 if there are none.
  [[nodiscard]] std::chrono::nanoseconds quantile(double share) const;

 private:
  static constexpr std::size_t kSubBits = 4;  // 16 buckets for each power of two
  static std::size_t bucket_of(std::uint64_t ns) {
    if (ns < (1u << kSubBits)) return ns;
    const auto shift = static_cast<std::size_t>(std::bit_width(ns)) - 1 - kSubBits;
    return ((shift + 1) << kSubBits) + ((ns >> shift) & ((1u << kSubBits) - 1));
  }
  std::array<std::uint32_t, 64 << kSubBits> counts_{};
  std::uint64_t total_ = 0;
};

/// Thread-safe.
class Tally {
 public:
  /// A message begins. Returns when its predecessors had all arrived (`arrived` itself where order does not matter).
  /// Tombstones are not counted, and only keep the order's clock going.
  Clock::Time begin(Clock::Time arrived, bool is_in_sequence, Clock::Time now, bool is_counted) {
    std::lock_guard lock(lock_);
    if (arrived > latest_arrival_) latest_arrival_ = arrived;
    ++begun_;
    if (is_counted && in_service_++ == 0) busy_since_ = now;
    // A later batch may have begun since `now` was read, where batches begin side by side.
    return is_in_sequence ? std::max(arrived, std::min(latest_arrival_, now)) : arrived;
  }
  void end(const StageSpan& span, bool is_counted) {
    std::lock_guard lock(lock_);
    ++passed_;
    if (!is_counted) return;
    latest_end_ = std::max(latest_end_, span.ended);  // ends are told in any order
    if (--in_service_ == 0) busy_ += latest_end_ - busy_since_;
    ++messages_;
    service_ += span.ended - span.started;
    order_wait_ += span.in_order - span.arrived;
    version_wait_ += span.admissible - span.in_order;
    limit_wait_ += span.started - span.admissible;
    histogram_.add(span.ended - span.started);
  }

  [[nodiscard]] StageReport report(const std::string& name) const {
    std::lock_guard lock(lock_);
    return {name, messages_, busy_, service_, order_wait_, version_wait_, limit_wait_, histogram_.quantile(0.50), histogram_.quantile(0.99)};
  }
  struct Counts {
    std::uint64_t begun = 0, passed = 0;
  };
  [[nodiscard]] Counts counts() const {
    std::lock_guard lock(lock_);
    return {begun_, passed_};
  }

 private:
  mutable SpinLock lock_;  // guards all below
  Clock::Time latest_arrival_{}, latest_end_{}, busy_since_{};
  std::uint64_t begun_ = 0, passed_ = 0, messages_ = 0, in_service_ = 0;
  std::chrono::nanoseconds busy_{}, service_{}, order_wait_{}, version_wait_{}, limit_wait_{};
  DurationHistogram histogram_;
};

}  // namespace pipestill::graph::detail
