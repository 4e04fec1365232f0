#pragma once
// Signals: Ctrl-C and termination as stop requests.
#include <atomic>
#include <stop_token>
#include <thread>

namespace pipestill::app {

/// While it lives, the first SIGINT or SIGTERM requests `stop` and the second `stop_now`. Make it before any other thread, which inherit the
/// blocked signals; one at a time.
class SignalStops {
 public:
  SignalStops();
  ~SignalStops();
  SignalStops(const SignalStops&) = delete;
  SignalStops& operator=(const SignalStops&) = delete;

  [[nodiscard]] std::stop_token stop() const { return stop_.get_token(); }
  [[nodiscard]] std::stop_token stop_now() const { return stop_now_.get_token(); }

 private:
  std::stop_source stop_, stop_now_;
  std::atomic<bool> is_over_{false};
  std::thread thread_;
};

}  // namespace pipestill::app
