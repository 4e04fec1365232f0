// Order, exactly once, exact versions, bounded memory: whatever depth, threads, executor, latencies and completion order.
#include <doctest/doctest.h>

#include <functional>
#include <optional>

#include "tests/laws/rig.hpp"
#include "tests/laws/watchdog.hpp"

using namespace pipestill;
using namespace pipestill::laws;

namespace {

struct Case {
  const char* name;
  graph::Executor executor;
  std::size_t threads;
};

std::vector<Case> cases() {
  std::vector<Case> all{{"small, 1 thread", graph::Executor::small, 1}, {"small, 2 threads", graph::Executor::small, 2}, {"small, 4 threads", graph::Executor::small, 4}};
#ifdef PIPESTILL_WITH_TBB
  for (const std::size_t threads : {1, 2, 4}) all.push_back({"flow graph", graph::Executor::flow_graph, threads});
#endif
  return all;
}

FlowSpec distilling(std::size_t staleness, bool is_evaluated) {
  FlowSpec spec{.batches = 24, .staleness = staleness};
  spec.stages = {{.name = "student_inference", .part = StageSpec::Part::reads, .is_async = true, .limit = 5},
                 {.name = "datum_builder", .limit = 2},
                 {.name = "forward_backward", .part = StageSpec::Part::trains, .is_in_sequence = true, .is_async = true}};
  if (is_evaluated) {
    spec.stages.push_back({.name = "evaluation", .part = StageSpec::Part::observes, .is_in_sequence = true, .is_async = true, .limit = 2});
    spec.evaluate_every = 2;
  }
  return spec;
}

using MakeAnswers = std::function<std::unique_ptr<Answers>(const FlowSpec&, const std::shared_ptr<Clock>&)>;

/// Every staleness, depth and executor; of one staleness, one trajectory.
void sweep(const MakeAnswers& make) {
  for (const bool is_evaluated : {false, true}) {
    for (const std::size_t s : {0, 1, 2, 4}) {
      std::optional<std::uint64_t> trajectory;
      for (const std::size_t depth : {1, 2, 3, 8}) {
        for (const auto& e : cases()) {
          auto spec = distilling(s, is_evaluated);
          spec.depth = depth;
          spec.threads = e.threads;
          spec.executor = e.executor;
          const auto what = to_text(spec);
          CAPTURE(what);
          const Watchdog watchdog([&] { return what; });
          const auto clock = std::make_shared<SystemClock>();
          const auto answers = make(spec, clock);
          const auto outcome = run_lawfully(spec, *answers, clock);
          const auto* gated = dynamic_cast<const GatedAnswers*>(answers.get());
          REQUIRE_MESSAGE(outcome.broken.empty(), to_text(outcome.broken), gated ? gated->broken() : "");
          if (gated) REQUIRE_MESSAGE(gated->broken().empty(), gated->broken());
          if (!trajectory) trajectory = outcome.final_state;
          REQUIRE(outcome.final_state == *trajectory);
        }
      }
    }
  }
}

void sweep_gated(Pick pick, std::uint64_t seed) {
  CAPTURE(seed);
  sweep([=](const FlowSpec& spec, const std::shared_ptr<Clock>&) {
    GatedAnswers::Flow flow{.batches = spec.batches, .depth = spec.depth, .staleness = *spec.staleness, .sampling = {1, spec.stages[0].limit}, .training = {3, 1}, .evaluation = {}};
    if (spec.has_observer()) flow.evaluation = {4, spec.stages[3].limit};
    return std::make_unique<GatedAnswers>(flow, pick, seed);
  });
}

}  // namespace

TEST_CASE("order, versions and bounds hold, and nothing is held back, when always the newest call is answered") { sweep_gated(Pick::newest, 1); }
TEST_CASE("order, versions and bounds hold, and nothing is held back, when always the oldest call is answered") { sweep_gated(Pick::oldest, 2); }
TEST_CASE("order, versions and bounds hold, and nothing is held back, when a random call is answered") {
  for (std::uint64_t seed = 3; seed < 5; ++seed) sweep_gated(Pick::random, seed);
}

TEST_CASE("order, versions and bounds hold under jitter and stragglers") {
  constexpr std::uint64_t kSeed = 10;
  sweep([=](const FlowSpec&, const std::shared_ptr<Clock>& clock) {
    return std::make_unique<TimedAnswers>(clock, [=](std::size_t stage, std::uint64_t n) {
      const auto us = pcg32(kSeed * 16 + stage, n)(100u);
      return std::chrono::microseconds(us < 5 ? 1000 : us);
    });
  });
}

TEST_CASE("order, versions and bounds hold when calls are answered in haste from two threads") {
  for (const auto pick : {Pick::newest, Pick::random}) {
    sweep([=](const FlowSpec&, const std::shared_ptr<Clock>&) { return std::make_unique<HastyAnswers>(pick, 20); });
  }
}

TEST_CASE("staleness changes what is learnt: the sweeps can tell trajectories apart") {
  std::vector<std::uint64_t> states;
  for (const std::size_t s : {0, 1, 2, 4}) states.push_back(Model(distilling(s, false)).states.back());
  for (std::size_t k = 1; k < states.size(); ++k) CHECK(states[k] != states[k - 1]);
}
