#pragma once
// Watchdog: a run that hangs names itself and ends the test binary, instead of waiting for CTest's timeout without a word.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

namespace pipestill::laws {

/// Watches from its construction to its destruction, and barks when nothing has moved for a while: a slow machine is no hang.
class Watchdog {
 public:
  static constexpr std::chrono::seconds kPatience{20};
  static inline std::atomic<std::uint64_t> moves{0};  ///< counted by whatever a run consists of

  /// `what`: called when it barks.
  explicit Watchdog(std::function<std::string()> what)
      : thread_([this, what = std::move(what)](const std::stop_token& stop) {
          std::unique_lock lock(mutex_);
          for (std::uint64_t seen = moves - 1; seen != moves;) {
            seen = moves;
            changed_.wait_for(lock, stop, kPatience, [] { return false; });
            if (stop.stop_requested()) return;
          }
          std::fprintf(stderr, "Nothing has moved for %lld s in a run:\n%s\n", static_cast<long long>(kPatience.count()), what().c_str());
          std::abort();
        }) {}

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::jthread thread_;  // the last member: it ends first
};

}  // namespace pipestill::laws
