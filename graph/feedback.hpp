#pragma once
// The feedback edge: one stage publishes the student, an earlier one reads it, and the delay between them is exact.
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "graph/message.hpp"

namespace pipestill::graph {

/// s: batch N reads the value that batch N - s - 1 published, and the first s + 1 batches read the initial value. A run that goes on where another
/// was cut has s + 1 initial values.
struct Staleness {
  std::size_t value = 0;
};

namespace detail {
struct FeedbackEdge {
  FeedbackEdge(std::vector<std::shared_ptr<const void>> i, Staleness s) : initial(std::move(i)), staleness(s) {}
  std::vector<std::shared_ptr<const void>> initial;  // until the run takes them, so that no handle keeps them alive
  Staleness staleness;
};
}  // namespace detail

/// A handle, cheap to copy into the stages that read or publish. The values ride in the Context; the first one is the
/// run's as soon as it begins, which is why a handle belongs to one flow.
template <class T>
class Feedback {
 public:
  Feedback(std::shared_ptr<const T> initial, Staleness staleness)
      : edge_(std::make_shared<detail::FeedbackEdge>(std::vector<std::shared_ptr<const void>>(staleness.value + 1, initial), staleness)) {}
  /// The values that the first s + 1 batches read, in their order: versions max(0, first - s) to first of a run whose first batch is `first`
  /// (EngineOptions::first). Another number of values is refused by run().
  Feedback(std::vector<std::shared_ptr<const T>> initial, Staleness staleness)
      : edge_(std::make_shared<detail::FeedbackEdge>(std::vector<std::shared_ptr<const void>>(initial.begin(), initial.end()), staleness)) {}

  /// The value leased to this batch. In a stage from the reading to the publishing one, both included.
  [[nodiscard]] std::shared_ptr<const T> of(const Context& context) const { return std::static_pointer_cast<const T>(context.lease.value); }
  /// Only in the publishing stage, before it returns or completes. A batch that publishes nothing passes the newest value on, as a version of its own.
  void publish(Context& context, std::shared_ptr<const T> next) const { context.next_value = std::move(next); }

  [[nodiscard]] const std::shared_ptr<detail::FeedbackEdge>& edge() const { return edge_; }

 private:
  std::shared_ptr<detail::FeedbackEdge> edge_;
};

/// Says at `then` that this stage is the first to read the student: it meets the batches in sequence order, each with its version.
template <class T>
struct Reads {
  Feedback<T> feedback;
};
/// Says at `then` that this stage publishes the student. Only for a stage that is in sequence.
template <class T>
struct Publishes {
  Feedback<T> feedback;
};
template <class T>
Reads<T> reads(Feedback<T> feedback) { return {std::move(feedback)}; }
template <class T>
Publishes<T> publishes(Feedback<T> feedback) { return {std::move(feedback)}; }

/// Says at `then` that a batch submitted to this stage counts: a stop waits for it, and cuts off what was not submitted.
/// publishes() implies it. In a flow without either, the sink commits.
struct Commits {};
inline constexpr Commits commits{};

}  // namespace pipestill::graph
