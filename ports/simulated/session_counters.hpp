#pragma once
// What became of simulated sessions, for tests of the lifecycle.
#include <atomic>

namespace pipestill {

/// Thread-safe; shared by a client and all its sessions.
struct SessionCounters {
  std::atomic<int> opened{0};
  std::atomic<int> closed{0};   ///< by close()
  std::atomic<int> dropped{0};  ///< destroyed without close()
  std::atomic<int> peak_live{0};

  void count_opened() {
    const int live = ++opened - closed - dropped;
    for (int peak = peak_live; peak < live && !peak_live.compare_exchange_weak(peak, live);) {
    }
  }
};

}  // namespace pipestill
