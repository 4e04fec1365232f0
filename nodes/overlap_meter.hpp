#pragma once
// OverlapMeter: how busy the busier model was while the student trained.
#include <algorithm>
#include <functional>
#include <mutex>
#include <optional>

#include "graph/base/clock.hpp"
#include "ports/types.hpp"

namespace pipestill {

/// `overlap.busy` of a run: the computing time of the busier model between the first start and the last end of forward_backward, over that
/// interval. 1: it never waited. Thread-safe.
class OverlapMeter {
 public:
  struct Reading {
    Clock::Time at{};
    std::vector<ModelUsage> models = {};  ///< teachers and student, in one order each time
  };

  explicit OverlapMeter(std::function<Reading()> read) : read_(std::move(read)) {}

  void forward_backward_begins() {
    if (is_begun()) return;
    const auto reading = read_();
    std::lock_guard lock(mutex_);
    if (!first_) first_ = reading;
  }
  void forward_backward_ended() {
    const auto reading = read_();
    std::lock_guard lock(mutex_);
    last_ = reading;
  }
  /// In [0, 1]; empty if nothing was trained, or in no time.
  [[nodiscard]] std::optional<double> busy() const {
    std::lock_guard lock(mutex_);
    if (!first_ || !last_ || last_->at <= first_->at) return std::nullopt;
    std::chrono::nanoseconds compute{};
    for (std::size_t i = 0; i < last_->models.size(); ++i) compute = std::max(compute, last_->models[i].compute - first_->models[i].compute);
    return std::min(1.0, static_cast<double>(compute.count()) / static_cast<double>((last_->at - first_->at).count()));
  }

 private:
  [[nodiscard]] bool is_begun() const {
    std::lock_guard lock(mutex_);
    return first_.has_value();
  }

  std::function<Reading()> read_;
  mutable std::mutex mutex_;  // guards both
  std::optional<Reading> first_, last_;
};

}  // namespace pipestill
