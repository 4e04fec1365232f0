#pragma once
// Flow: the typed builder. from(...).then(...).into(...) makes a flow that run() executes; a flow that makes no sense does not compile.
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "graph/feedback.hpp"
#include "graph/payload.hpp"
#include "graph/session.hpp"
#include "graph/stage.hpp"

namespace pipestill::graph {

namespace detail {

/// Where an asynchronous stage's answer goes. Trivially copyable, so that a Completion needs one allocation and no more.
struct Delivery {
  void (*deliver)(void* to, Result<Payload>&& result);
  void* to;
};

struct StagePlan {
  std::string name;
  Description description = {};
  bool is_in_sequence = false;
  std::size_t limit = 1;
  bool reads = false;      // takes a version of the student
  bool publishes = false;  // issues one
  bool commits = false;
  // Exactly one of the two is set: the stage returns its result, or starts and completes later. Its message stays where it is until then.
  std::function<Result<Payload>(Payload&, Context&)> call = nullptr;
  std::function<void(Payload&, Context&, Delivery)> start = nullptr;
};

struct Plan {
  std::string source_name;
  Description source_description;
  std::function<Result<std::optional<Payload>>(Context&)> next;
  std::vector<StagePlan> stages;  // the last one is the sink
  std::shared_ptr<FeedbackEdge> feedback;  // null: nothing reads the student
  std::vector<std::shared_ptr<Session>> sessions;
};

template <class F>
Description describe_or_name(const std::string& name) {
  if constexpr (DescribedStage<F>) return F::describe();
  else return {.name = name, .summary = ""};
}

/// What of the feedback edge and of the commit point a flow has so far.
struct FlowState {
  bool has_read = false;
  bool has_published = false;
  bool has_committed = false;
};

struct NoTag {};
template <class Tag>
inline constexpr bool kIsReads = false;
template <class T>
inline constexpr bool kIsReads<Reads<T>> = true;
template <class Tag>
inline constexpr bool kIsPublishes = false;
template <class T>
inline constexpr bool kIsPublishes<Publishes<T>> = true;

template <FlowState S, class Tag>
consteval FlowState advance() {
  FlowState next = S;
  if constexpr (kIsReads<Tag>) next.has_read = true;
  if constexpr (kIsPublishes<Tag>) next.has_published = next.has_committed = true;
  if constexpr (std::same_as<Tag, Commits>) next.has_committed = true;
  return next;
}

}  // namespace detail

/// A flow from source to sink. run() (engine.hpp) spends it.
class ClosedFlow {
 public:
  explicit ClosedFlow(detail::Plan plan) : plan_(std::move(plan)) {}

  /// Opens `session` before the source starts and closes it after the drain.
  ClosedFlow with(std::shared_ptr<Session> session) && {
    plan_.sessions.push_back(std::move(session));
    return std::move(*this);
  }
  /// One line a stage: name, order, style, limit, what it does, and the two tokens' edges.
  [[nodiscard]] std::string to_text() const;
  /// The same as a picture, in the DOT language of Graphviz.
  [[nodiscard]] std::string to_dot() const;

  [[nodiscard]] const detail::Plan& plan() const& { return plan_; }
  [[nodiscard]] detail::Plan plan() && { return std::move(plan_); }

 private:
  detail::Plan plan_;
};

/// A flow whose last stage so far yields T. Linear by design: fan-out belongs inside a stage.
template <class T, detail::FlowState S = detail::FlowState{}>
class Flow {
 public:
  explicit Flow(detail::Plan plan) : plan_(std::move(plan)) {}

  /// Adds a stage that begins batches in any order.
  template <class F, class Tag = detail::NoTag>
    requires(CallStage<F, T> || StartStage<F, T>) && (std::same_as<Tag, detail::NoTag> || (detail::kIsReads<Tag> && !S.has_read && !S.has_committed))
  auto then(std::string name, AnyOrder order, F stage, Tag tag = {}) && {
    return std::move(*this).template add<F, Tag>({.name = std::move(name), .is_in_sequence = false, .limit = order.limit}, std::move(stage), tag);
  }

  /// Adds a stage that begins batches in sequence order.
  template <class F, class Tag = detail::NoTag>
    requires(CallStage<F, T> || StartStage<F, T>) &&
            (std::same_as<Tag, detail::NoTag> || (detail::kIsReads<Tag> && !S.has_read && !S.has_committed) ||
             (detail::kIsPublishes<Tag> && S.has_read && !S.has_published && !S.has_committed) || (std::same_as<Tag, Commits> && !S.has_read && !S.has_committed))
  auto then(std::string name, InSequence order, F stage, Tag tag = {}) && {
    return std::move(*this).template add<F, Tag>({.name = std::move(name), .is_in_sequence = true, .limit = order.limit}, std::move(stage), tag);
  }

  /// Ends the flow with a sink, which meets the batches in sequence order.
  template <SinkStage<T> F>
    requires(S.has_read == S.has_published)
  ClosedFlow into(std::string name, F sink) && {
    detail::StagePlan plan{.name = name, .description = detail::describe_or_name<F>(name), .is_in_sequence = true, .limit = 1, .commits = !S.has_committed};
    plan.call = [s = std::make_shared<F>(std::move(sink))](detail::Payload& message, Context& context) -> Result<detail::Payload> {
      if constexpr (std::is_void_v<std::invoke_result_t<F&, T&&, Context&>>) {
        (*s)(std::move(message.template as<T>()), context);
      } else if (auto result = (*s)(std::move(message.template as<T>()), context); !result) {
        return fail(std::move(result.error()));
      }
      return std::move(message);  // only to say that the batch is complete
    };
    plan_.stages.push_back(std::move(plan));
    return ClosedFlow(std::move(plan_));
  }

 private:
  template <class F, class Tag>
  auto add(detail::StagePlan plan, F stage, const Tag& tag) && {
    plan.description = detail::describe_or_name<F>(plan.name);
    if constexpr (detail::kIsReads<Tag>) {
      plan.reads = true;
      plan_.feedback = tag.feedback.edge();
    }
    plan.publishes = detail::kIsPublishes<Tag>;
    plan.commits = detail::kIsPublishes<Tag> || std::same_as<Tag, Commits>;
    constexpr auto kNext = detail::advance<S, Tag>();
    if constexpr (StartStage<F, T>) {
      using Out = typename F::Output;
      plan.start = [s = std::make_shared<F>(std::move(stage))](detail::Payload& message, Context& context, detail::Delivery delivery) {
        (*s)(std::move(message.template as<T>()), context, make_completion<Out>(delivery));
      };
      plan_.stages.push_back(std::move(plan));
      return Flow<Out, kNext>(std::move(plan_));
    } else {
      using Out = CallOutput<F, T>;
      if (plan.is_in_sequence) plan.limit = 1;
      plan.call = [s = std::make_shared<F>(std::move(stage))](detail::Payload& message, Context& context) -> Result<detail::Payload> {
        auto out = (*s)(std::move(message.template as<T>()), context);
        if constexpr (std::same_as<decltype(out), Result<Out>>) {
          if (!out) return fail(std::move(out.error()));
          return detail::Payload::of(*std::move(out));
        } else {
          return detail::Payload::of(std::move(out));
        }
      };
      plan_.stages.push_back(std::move(plan));
      return Flow<Out, kNext>(std::move(plan_));
    }
  }

  template <class Out>
  static Completion<Out> make_completion(detail::Delivery delivery) {
    try {
      return Completion<Out>([delivery](Result<Out> result) {
        if (result) delivery.deliver(delivery.to, detail::Payload::of(*std::move(result)));
        else delivery.deliver(delivery.to, fail(std::move(result.error())));
      });
    } catch (...) {  // no memory: nobody else will answer
      delivery.deliver(delivery.to, fail(thrown_error()));
      throw;
    }
  }

  detail::Plan plan_;
};

/// Begins a flow. The source is called in sequence, once for each free credit.
template <SourceStage F>
auto from(std::string name, F source) {
  detail::Plan plan;
  plan.source_description = detail::describe_or_name<F>(name);
  plan.source_name = std::move(name);
  plan.next = [s = std::make_shared<F>(std::move(source))](Context& context) -> Result<std::optional<detail::Payload>> {
    auto next = (*s)(context);
    if constexpr (requires { next.error(); }) {
      if (!next) return fail(std::move(next.error()));
      if (!*next) return std::nullopt;
      return detail::Payload::of(**std::move(next));
    } else {
      if (!next) return std::nullopt;
      return detail::Payload::of(*std::move(next));
    }
  };
  return Flow<SourceOutput<F>>(std::move(plan));
}

}  // namespace pipestill::graph
