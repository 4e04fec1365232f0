// Where the time went, on a clock that says exactly.
#include <doctest/doctest.h>

#include "graph/detail/tally.hpp"
#include "graph/engine.hpp"
#include "tests/support/delayed.hpp"

using namespace pipestill;
using namespace pipestill::graph;
using namespace std::chrono_literals;

TEST_CASE("waits are told apart: order, version, limit, service") {
  const auto clock = std::make_shared<SimulatedClock>();
  const auto same = [](int n, Context&) -> Result<int> { return n; };
  // Batch 0 takes 30 ms in `first`, batch 1 takes 10 ms: at `second` batch 1 waits 20 ms for batch 0's arrival and, since that one is served
  // for 5 ms, 5 ms more for the place.
  auto flow = from("source", [n = 0](Context&) mutable { return n < 2 ? std::optional(n++) : std::nullopt; })
                  .then("first", any_order(2), test::Delayed<int, int>{clock, [](std::uint64_t n) -> Clock::Time { return n == 0 ? 30ms : 10ms; }, same})
                  .then("second", in_sequence(), test::Delayed<int, int>{clock, [](std::uint64_t) -> Clock::Time { return 5ms; }, same})
                  .into("sink", [](int, Context&) {});
  const auto report = run(std::move(flow), {.depth = 2, .executor = Executor::small, .clock = clock});
  REQUIRE(report.stages.size() == 3);
  const auto& first = report.stages[0];
  const auto& second = report.stages[1];
  CHECK(first.messages == 2);
  CHECK(first.busy == 30ms);
  CHECK(first.service == 40ms);
  CHECK(first.order_wait == 0ms);
  CHECK(second.messages == 2);
  CHECK(second.busy == 10ms);
  CHECK(second.order_wait == 20ms);
  CHECK(second.limit_wait == 5ms);
  CHECK(second.version_wait == 0ms);
  CHECK(report.wall == 40ms);
}

TEST_CASE("waiting for a version of the student is a cause of its own") {
  const auto clock = std::make_shared<SimulatedClock>();
  const auto same = [](int n, Context&) -> Result<int> { return n; };
  const Feedback<int> student(std::make_shared<const int>(0), Staleness{0});
  auto flow = from("source", [n = 0](Context&) mutable { return n < 2 ? std::optional(n++) : std::nullopt; })
                  .then("sample", any_order(2), test::Delayed<int, int>{clock, [](std::uint64_t) -> Clock::Time { return 20ms; }, same}, reads(student))
                  .then("train", in_sequence(), test::Delayed<int, int>{clock, [](std::uint64_t) -> Clock::Time { return 10ms; }, same}, publishes(student))
                  .into("sink", [](int, Context&) {});
  const auto report = run(std::move(flow), {.depth = 2, .executor = Executor::small, .clock = clock});
  CHECK(report.stages[0].version_wait == 30ms);
  CHECK(report.stages[0].limit_wait == 0ms);
  CHECK(report.wall == 60ms);
}

TEST_CASE("quantiles are right within 1/32") {
  detail::DurationHistogram h;
  CHECK(h.quantile(0.5) == 0ns);
  for (int k = 1; k <= 1000; ++k) h.add(std::chrono::microseconds(k));
  const auto near = [](std::chrono::nanoseconds got, double want_us) { return std::abs(static_cast<double>(got.count()) / 1e3 - want_us) <= want_us / 32; };
  CHECK(near(h.quantile(0.50), 500));
  CHECK(near(h.quantile(0.99), 990));
  CHECK(near(h.quantile(1.0), 1000));
  detail::DurationHistogram two;
  two.add(1ns);
  two.add(1000ns);
  CHECK(two.quantile(0.5) == 1ns);
  detail::DurationHistogram rare;
  for (int k = 0; k < 99; ++k) rare.add(10ns);
  rare.add(1ms);
  CHECK(rare.quantile(0.99) == 10ns);
}

TEST_CASE("a monitor shows what is where while the run goes on, and the last state afterwards") {
  const auto clock = std::make_shared<SimulatedClock>();
  const auto monitor = std::make_shared<Monitor>();
  CHECK(monitor->read().empty());
  std::vector<StageGauge> midway;
  clock->call_at(15ms, [&] { midway = monitor->read(); });
  auto flow = from("source", [n = 0](Context&) mutable { return n < 5 ? std::optional(n++) : std::nullopt; })
                  .then("teacher", any_order(2), test::Delayed<int, int>{clock, [](std::uint64_t) -> Clock::Time { return 10ms; }, [](int n, Context&) -> Result<int> { return n; }})
                  .into("sink", [](int, Context&) {});
  REQUIRE(run(std::move(flow), {.depth = 5, .executor = Executor::small, .clock = clock, .monitor = monitor}).status == RunReport::Status::finished);
  REQUIRE(midway.size() == 2);
  CHECK(midway[0].done == 2);
  CHECK(midway[0].in_service == 2);
  CHECK(midway[0].waiting == 1);
  CHECK(monitor->read()[1].done == 5);
}
