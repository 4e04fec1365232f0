#pragma once
// await(): blocks for one asynchronous call, outside a flow.
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "graph/base/clock.hpp"
#include "graph/base/completion.hpp"

namespace pipestill {

/// Calls `start(Completion<T>)` and returns what the completion delivers. A SimulatedClock is advanced meanwhile, by this thread.
/// Never from a stage: it would block a thread of the engine.
template <class T, class Start>
Result<T> await(Clock& clock, Start&& start) {
  struct State {
    std::mutex mutex;  // guards answer
    std::condition_variable answered;
    std::optional<Result<T>> answer;
    bool has_answer() {
      std::lock_guard lock(mutex);
      return answer.has_value();
    }
  };
  const auto state = std::make_shared<State>();
  std::forward<Start>(start)(Completion<T>([state](Result<T> answer) {
    std::lock_guard lock(state->mutex);
    state->answer = std::move(answer);
    state->answered.notify_all();
  }));
  if (auto* simulated = dynamic_cast<SimulatedClock*>(&clock)) {
    while (!state->has_answer() && simulated->advance()) {
    }
  }
  std::unique_lock lock(state->mutex);
  state->answered.wait(lock, [&] { return state->answer.has_value(); });
  return *std::move(state->answer);
}

}  // namespace pipestill
