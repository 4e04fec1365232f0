#pragma once
// The one thread on which a role's model computes.
#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "ports/types.hpp"

namespace pipestill::embedded {

/// What one session has cost. Thread-safe.
class UsageMeter {
 public:
  void start();
  void stop();
  void add_tokens(std::uint64_t n) { tokens_.fetch_add(n, std::memory_order_relaxed); }
  [[nodiscard]] ModelUsage usage() const;  ///< a running task counts as far as it has come

 private:
  using Time = std::chrono::steady_clock::time_point;
  mutable std::mutex mutex_;  ///< guards the two below
  std::chrono::nanoseconds done_{};
  Time running_since_{};  ///< the epoch: nothing runs
  std::atomic<std::uint64_t> tokens_{0};
};

/// The first line of what an exception says: libtorch's go on with a backtrace.
[[nodiscard]] std::string first_line(const std::exception& e);

/// Runs tasks one at a time: those of training before those of sampling, each kind in the order of submission, so that
/// a student's snapshots are sampled in the time that training leaves.
///
/// A task must not throw. It should keep alive what it needs, this object included: the destructor lets the running task
/// finish and destroys the others unrun. It may run on the compute thread itself (a task may drop the last owner).
class ComputeThread {
 public:
  enum class Priority { training, sampling };

  ComputeThread();
  ~ComputeThread();
  ComputeThread(const ComputeThread&) = delete;
  ComputeThread& operator=(const ComputeThread&) = delete;

  /// `meter` counts the task's time; may be null. Thread-safe.
  void submit(Priority priority, std::shared_ptr<UsageMeter> meter, std::function<void()> task);

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with the thread, which may outlive this object by a moment
};

}  // namespace pipestill::embedded
