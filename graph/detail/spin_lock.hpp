#pragma once
// SpinLock: for a handful of instructions in which threads rarely meet. Half the price of a std::mutex that nobody else holds.
#include <atomic>
#include <thread>

namespace pipestill::graph::detail {

/// BasicLockable. Who holds it calls nobody and waits for nothing.
class SpinLock {
 public:
  void lock() noexcept {
    while (is_held_.test_and_set(std::memory_order_acquire)) std::this_thread::yield();  // its holder may wait for this core
  }
  void unlock() noexcept { is_held_.clear(std::memory_order_release); }

 private:
  std::atomic_flag is_held_;
};

}  // namespace pipestill::graph::detail
