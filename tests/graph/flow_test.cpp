// What the builder accepts and, above all, what it refuses to compile.
#include "graph/flow.hpp"

#include <doctest/doctest.h>

#include <string>

#include "graph/engine.hpp"

using namespace pipestill;
using namespace pipestill::graph;

namespace {

struct Yield {
  std::optional<int> operator()(Context&) { return std::nullopt; }
};
struct Same {
  int operator()(int x, Context&) const { return x; }
};
struct Start {
  using Output = int;
  void operator()(int x, Context&, Completion<int> done) const { done(x); }
};
struct Drop {
  void operator()(int, Context&) const {}
};
struct NotAStage {
  void operator()(std::string) const {}
};

using Fresh = decltype(from("source", Yield{}));
using WithReader = decltype(std::declval<Fresh>().then("read", any_order(2), Start{}, reads(std::declval<Feedback<int>>())));
using WithPublisher = decltype(std::declval<WithReader>().then("publish", in_sequence(), Start{}, publishes(std::declval<Feedback<int>>())));
using WithCommit = decltype(std::declval<Fresh>().then("train", in_sequence(), Start{}, commits));

template <class F, class... Args>
concept CanThen = requires(F flow, Args... args) { std::move(flow).then("stage", args...); };
template <class F, class S>
concept CanInto = requires(F flow, S sink) { std::move(flow).into("sink", sink); };
using Fb = Feedback<int>;

static_assert(CanThen<Fresh, AnyOrder, Same> && CanThen<Fresh, InSequence, Same> && CanThen<Fresh, AnyOrder, Start>);
static_assert(!CanThen<Fresh, AnyOrder, NotAStage>, "a stage takes the message of the stage before");
static_assert(!CanThen<Fresh, InSequence, Start, Publishes<int>>, "nothing read what would be published");
static_assert(!CanThen<WithReader, AnyOrder, Start, Publishes<int>>, "a publisher is in sequence");
static_assert(!CanThen<WithReader, AnyOrder, Start, Reads<int>>, "one stage takes the version");
static_assert(!CanThen<WithPublisher, InSequence, Start, Publishes<int>>, "one stage publishes");
static_assert(!CanThen<WithPublisher, AnyOrder, Start, Reads<int>>, "the student is read before it is published");
static_assert(!CanThen<WithCommit, InSequence, Start, Commits>, "one stage commits");
static_assert(!CanThen<Fresh, AnyOrder, Start, Commits>, "what counts is decided in sequence");
static_assert(CanInto<Fresh, Drop> && CanInto<WithPublisher, Drop> && CanInto<WithCommit, Drop>);
static_assert(!CanInto<WithReader, Drop>, "what is read must be published, or the run would starve");
static_assert(!CanInto<Fresh, NotAStage>);

}  // namespace

TEST_CASE("a flow prints itself with order, style, limits and the two tokens") {
  const Feedback<int> student(std::make_shared<const int>(0), Staleness{1});
  const auto flow = from("batch_source", Yield{})
                        .then("student_sampling", any_order(8), Start{}, reads(student))
                        .then("datum_builder", any_order(2), Same{})
                        .then("forward_backward", in_sequence(), Start{}, publishes(student))
                        .into("metrics_sink", Drop{});
  const auto text = flow.to_text();
  CAPTURE(text);
  CHECK(text.find("batch_source        source, takes a credit") == 0);
  CHECK(text.find("student_sampling    any order, asynchronous, at most 8, takes a version") != std::string::npos);
  CHECK(text.find("datum_builder       any order, returns, at most 2") != std::string::npos);
  CHECK(text.find("forward_backward    in sequence, asynchronous, at most 1, issues a version") != std::string::npos);
  CHECK(text.find("metrics_sink        sink, in sequence, returns the credit") != std::string::npos);
}

TEST_CASE("a flow draws itself: every stage, both tokens, and labels that DOT can read") {
  struct Described {
    static Description describe() { return {.name = "builder", .summary = "says \"so\" \\"}; }
    int operator()(int x, Context&) const { return x; }
  };
  const Feedback<int> student(std::make_shared<const int>(0), Staleness{2});
  const auto dot = from("batch_source", Yield{})
                       .then("student_sampling", any_order(8), Start{}, reads(student))
                       .then("datum_builder", any_order(2), Described{})
                       .then("forward_backward", in_sequence(), Start{}, publishes(student))
                       .into("metrics_sink", Drop{})
                       .to_dot();
  CAPTURE(dot);
  CHECK(dot.starts_with("digraph flow {"));
  CHECK(dot.ends_with("}\n"));
  CHECK(dot.find(R"(stage0 [label="student_sampling\nany order, asynchronous, at most 8, takes a version"];)") != std::string::npos);
  CHECK(dot.find(R"(stage1 [label="datum_builder\nany order, returns, at most 2\nsays \"so\" \\"];)") != std::string::npos);
  for (const auto* edge : {"source -> stage0;", "stage0 -> stage1;", "stage1 -> stage2;", "stage2 -> stage3;", "stage3 -> source [style=dashed", "stage2 -> stage0 [style=dashed"}) {
    CAPTURE(edge);
    CHECK(dot.find(edge) != std::string::npos);
  }
  CHECK(dot.find("versions, 3 at the start") != std::string::npos);
}

TEST_CASE("a flow cannot run with options that make no sense") {
  const auto flow = [](std::size_t limit) { return from("source", Yield{}).then("same", any_order(limit), Same{}).into("sink", Drop{}); };
  CHECK(run(flow(1), {.depth = 0, .executor = Executor::small}).failure->error.code == ErrorCode::invalid_input);
  CHECK(run(flow(0), {.executor = Executor::small}).failure->error.code == ErrorCode::invalid_input);
  auto two_at_once = from("source", Yield{}).then("train", in_sequence(2), Start{}, commits).into("sink", Drop{});
  CHECK(run(std::move(two_at_once), {.executor = Executor::small}).failure->error.code == ErrorCode::invalid_input);
  const auto clock = std::make_shared<SimulatedClock>();
  CHECK(run(flow(1), {.threads = 2, .executor = Executor::small, .clock = clock}).failure->error.code == ErrorCode::invalid_input);
  CHECK(run(flow(1), {.executor = Executor::flow_graph, .clock = clock}).failure->error.code == ErrorCode::invalid_input);
}
