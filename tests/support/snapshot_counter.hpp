#pragma once
// SnapshotCounter: how many snapshots of a student live at once, beside those that an evaluation holds.
#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>

namespace pipestill::test {

/// Outlives its snapshots. Thread-safe.
class SnapshotCounter {
 public:
  template <class T>
  std::shared_ptr<const T> make(T value) {
    {
      std::lock_guard lock(mutex_);
      ++live_;
      peak_ = std::max(peak_, live_ - evaluations_);
    }
    return {new T(std::move(value)), [this](const T* snapshot) {
              delete snapshot;
              std::lock_guard lock(mutex_);
              --live_;
            }};
  }

  /// Holds `snapshot` until the last copy of what it returns dies; it may hold one snapshot more meanwhile.
  std::shared_ptr<const void> evaluate(std::shared_ptr<const void> snapshot) {
    {
      std::lock_guard lock(mutex_);
      ++evaluations_;
    }
    const auto* address = snapshot.get();
    return {address, [this, snapshot = std::move(snapshot)](const void*) mutable {
              snapshot.reset();  // before it counts as over
              std::lock_guard lock(mutex_);
              --evaluations_;
            }};
  }

  /// The most that lived at once, less the evaluations under way at that moment.
  [[nodiscard]] int peak() const {
    std::lock_guard lock(mutex_);
    return peak_;
  }
  [[nodiscard]] int live() const {
    std::lock_guard lock(mutex_);
    return live_;
  }

 private:
  mutable std::mutex mutex_;  // guards the three below
  int live_ = 0, evaluations_ = 0, peak_ = 0;
};

}  // namespace pipestill::test
