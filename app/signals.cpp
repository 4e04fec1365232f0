#include "app/signals.hpp"

#include <pthread.h>

#include <csignal>

namespace pipestill::app {
namespace {

sigset_t stop_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  return signals;
}

}  // namespace

SignalStops::SignalStops() {
  const auto signals = stop_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  thread_ = std::thread([this, signals] {
    for (;;) {
      int signal = 0;
      if (sigwait(&signals, &signal) != 0) continue;
      if (is_over_) return;
      if (!stop_.request_stop()) stop_now_.request_stop();
    }
  });
}

SignalStops::~SignalStops() {
  is_over_ = true;
  pthread_kill(thread_.native_handle(), SIGTERM);  // wakes the wait
  thread_.join();
  const auto signals = stop_signals();
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
}

}  // namespace pipestill::app
