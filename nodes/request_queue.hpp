#pragma once
// RequestQueue: one queue in front of a model, shared by all batches under way.
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>

#include "graph/base/clock.hpp"
#include "graph/base/completion.hpp"
#include "ports/sampling/sampling_client.hpp"

namespace pipestill {

/// Sends at most `in_flight` requests at a time, of those that wait the oldest batch's first and then by row, so that a straggler in one
/// batch does not idle the model. Thread-safe. Copies of the handle share one queue.
class RequestQueue {
 public:
  /// Lower goes first.
  struct Priority {
    std::uint64_t batch = 0;
    std::size_t row = 0;
    auto operator<=>(const Priority&) const = default;
  };

  /// `session` stays open until every request has been answered.
  RequestQueue(std::shared_ptr<SamplingSession> session, std::size_t in_flight, std::shared_ptr<Clock> clock);

  /// `done` under the rules of Completion, outside every lock of the queue. A request whose stop comes while it waits is answered with
  /// ErrorCode::cancelled at once and never sent. `on_sent` is called just before the request goes out, if it does.
  void sample(Priority priority, SampleRequest request, std::stop_token stop, Completion<SampledSequence> done,
              std::function<void()> on_sent = {}) const;
  void compute_logprobs(Priority priority, ScoreRequest request, std::stop_token stop, Completion<Score> done,
                        std::function<void()> on_sent = {}) const;

 private:
  class Queue;
  std::shared_ptr<Queue> queue_;  // requests under way keep it alive
};

}  // namespace pipestill
