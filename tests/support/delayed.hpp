#pragma once
// Delayed: an asynchronous stage for tests, which completes each batch after a latency on a clock, or promptly when it is stopped.
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>

#include "graph/base/clock.hpp"
#include "graph/stage.hpp"

namespace pipestill::test {

/// Completes with ErrorCode::cancelled on a stop request, through the clock like every answer.
inline void after(const std::shared_ptr<Clock>& clock, Clock::Time latency, std::stop_token stop, std::function<void(bool is_stopped)> then) {
  struct Call {
    std::function<void(bool)> then;
    std::atomic<bool> is_over{false};
    std::optional<std::stop_callback<std::function<void()>>> on_stop;  // not reset by finish(), which may run while it is still being made
    void finish(bool is_stopped) {
      if (is_over.exchange(true)) return;
      then(is_stopped);
    }
  };
  const auto call = std::make_shared<Call>();
  call->then = std::move(then);
  call->on_stop.emplace(std::move(stop), [clock = clock.get(), weak = std::weak_ptr(call)] {
    clock->call_at(clock->now(), [weak] {
      if (const auto c = weak.lock()) c->finish(true);
    });
  });
  clock->call_at(clock->now() + latency, [call] { call->finish(false); });
}

/// A stage In -> Out: `f(in, context)` says what comes out, and its result is delivered `latency(seq)` later.
template <class In, class Out>
struct Delayed {
  using Output = Out;
  std::shared_ptr<Clock> clock;
  std::function<Clock::Time(std::uint64_t)> latency;
  std::function<Result<Out>(In, graph::Context&)> f;

  void operator()(In in, graph::Context& context, Completion<Out> done) {
    auto result = std::make_shared<Result<Out>>(f(std::move(in), context));
    after(clock, latency(context.seq.value), context.stop, [result, done](bool is_stopped) {
      if (is_stopped) done(fail(ErrorCode::cancelled, "stopped"));
      else done(std::move(*result));
    });
  }
};

}  // namespace pipestill::test
