#pragma once
// Clock: where time comes from, so that a test can own it.
#include <chrono>
#include <functional>
#include <memory>

namespace pipestill {

/// Monotonic time and timers. Thread-safe.
class Clock {
 public:
  using Time = std::chrono::nanoseconds;  ///< since the clock was made

  virtual ~Clock() = default;
  [[nodiscard]] virtual Time now() const noexcept = 0;
  /// Calls `f` once, at or after `when`, never from inside this call and under no lock; equal times in the order of
  /// the calls. `f` must not throw or block. Timers that are pending when the clock dies are dropped uncalled.
  virtual void call_at(Time when, std::function<void()> f) = 0;
};

/// Real time. Timers run on one thread of the clock's own, started by the first timer. It may die on that thread.
class SystemClock final : public Clock {
 public:
  SystemClock();
  ~SystemClock() override;
  [[nodiscard]] Time now() const noexcept override { return std::chrono::steady_clock::now() - start_; }
  void call_at(Time when, std::function<void()> f) override;

 private:
  struct Timers;
  std::shared_ptr<Timers> timers_;
  std::chrono::steady_clock::time_point start_;
};

/// Time that stands still until somebody advances it: one defined order of events, and no sleeping in tests.
class SimulatedClock final : public Clock {
 public:
  SimulatedClock();
  ~SimulatedClock() override;
  [[nodiscard]] Time now() const noexcept override;
  void call_at(Time when, std::function<void()> f) override;
  /// Moves to the earliest timer and runs it on this thread. False if there is none.
  bool advance();

 private:
  struct Timers;
  std::unique_ptr<Timers> timers_;
};

}  // namespace pipestill
