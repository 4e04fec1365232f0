#include "nodes/student_history.hpp"

#include <algorithm>
#include <utility>

namespace pipestill {

StudentHistory::StudentHistory(std::size_t staleness, std::uint64_t first, Versions versions) : staleness_(staleness), met_(first), versions_(std::move(versions)) {
  if (staleness_ == 0) versions_.clear();  // the next batch reads the student itself
}

void StudentHistory::met(std::uint64_t step) {
  std::lock_guard lock(mutex_);
  met_ = std::max(met_, step + 1);
}

void StudentHistory::passed(std::uint64_t step, std::shared_ptr<SamplingSession> snapshot) {
  Versions dropped;  // destroyed outside the lock
  std::lock_guard lock(mutex_);
  met_ = std::max(met_, step + 1);
  if (versions_.empty()) return;
  if (!snapshot) snapshot = versions_.rbegin()->second;
  versions_[step + 1] = std::move(snapshot);
  const auto oldest = step + 1 > staleness_ ? step + 1 - staleness_ : 0;
  while (versions_.begin()->first < oldest) dropped.insert(versions_.extract(versions_.begin()));
}

std::uint64_t StudentHistory::batches_met() const {
  std::lock_guard lock(mutex_);
  return met_;
}

StudentHistory::Versions StudentHistory::older_than(std::uint64_t cursor) const {
  std::lock_guard lock(mutex_);
  const auto oldest = cursor > staleness_ ? cursor - staleness_ : 0;
  return {versions_.lower_bound(oldest), versions_.lower_bound(cursor)};
}

}  // namespace pipestill
