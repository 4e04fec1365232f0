// Stop: the source closes, what is in flight gets its grace, then the cut falls at the first batch that was not submitted.
#include <doctest/doctest.h>

#include <pcg_random.hpp>

#include "graph/engine.hpp"
#include "tests/support/delayed.hpp"
#include "tests/support/executors.hpp"

using namespace pipestill;
using namespace pipestill::graph;
using namespace std::chrono_literals;

namespace {

struct StoppedRun {
  RunReport report;
  std::vector<int> trained, sunk;
};

/// Endless batches on a simulated clock: 20 ms of teacher, 10 ms of training, depth 8; `act` sets the stops.
StoppedRun run_until(std::function<void(SimulatedClock&, std::stop_source&, std::stop_source&)> act, std::chrono::nanoseconds grace, Clock::Time teacher = 20ms) {
  StoppedRun o;
  const auto clock = std::make_shared<SimulatedClock>();
  std::stop_source stop, stop_now;
  act(*clock, stop, stop_now);
  auto flow = from("source", [n = 0](Context&) mutable { return std::optional(n++); })
                  .then("teacher", any_order(8), test::Delayed<int, int>{clock, [=](std::uint64_t) { return teacher; }, [](int n, Context&) -> Result<int> { return n; }})
                  .then("train", in_sequence(), test::Delayed<int, int>{clock, [](std::uint64_t) -> Clock::Time { return 10ms; },
                                                                        [&](int n, Context&) -> Result<int> {
                                                                          o.trained.push_back(n);
                                                                          return n;
                                                                        }},
                        commits)
                  .into("sink", [&](int n, Context&) { o.sunk.push_back(n); });
  o.report = run(std::move(flow), {.depth = 8, .executor = Executor::small, .stop = stop.get_token(), .stop_now = stop_now.get_token(), .stop_grace = grace, .clock = clock});
  return o;
}

}  // namespace

TEST_CASE("within the grace everything in flight finishes") {
  const auto o = run_until([](auto& clock, auto& stop, auto&) { clock.call_at(105ms, [&] { stop.request_stop(); }); }, 5s);
  CHECK(o.report.status == RunReport::Status::stopped);
  CHECK(o.report.completed == o.report.admitted);
  CHECK(o.report.admitted == 16);  // batch n + 8 is admitted when batch n retires, at 30 ms + 10 ms n
  CHECK(o.sunk.size() == 16);
  CHECK(o.report.wall == 180ms);
}

TEST_CASE("after the grace the cut falls at the first batch that was not submitted, and one submitted is waited for") {
  const auto o = run_until([](auto& clock, auto& stop, auto&) { clock.call_at(105ms, [&] { stop.request_stop(); }); }, 20ms);
  // The cut falls at 125 ms: batch 10 trains from 120 to 130 ms.
  CHECK(o.report.status == RunReport::Status::stopped);
  CHECK(o.report.cut.value == 11);
  CHECK(o.trained.size() == 11);
  CHECK(o.sunk.size() == 11);
  CHECK(o.report.admitted == o.report.retired);
  CHECK(o.report.wall == 130ms);
}

TEST_CASE("a second signal cuts at once") {
  const auto o = run_until(
      [](auto& clock, auto& stop, auto& stop_now) {
        clock.call_at(105ms, [&] { stop.request_stop(); });
        clock.call_at(106ms, [&] { stop_now.request_stop(); });
      },
      5s);
  CHECK(o.report.cut.value == 9);
  CHECK(o.sunk.size() == 9);
  CHECK(o.report.wall == 110ms);
}

TEST_CASE("a stop before the start admits nothing") {
  const auto o = run_until([](auto&, auto& stop, auto&) { stop.request_stop(); }, 5s);
  CHECK(o.report.status == RunReport::Status::stopped);
  CHECK(o.report.admitted == 0);
}

TEST_CASE("a stop while the teacher hangs is over after the grace") {
  const auto o = run_until([](auto& clock, auto& stop, auto&) { clock.call_at(1ms, [&] { stop.request_stop(); }); }, 50ms, 1h);
  CHECK(o.report.status == RunReport::Status::stopped);
  CHECK(o.report.admitted == 8);
  CHECK(o.report.retired == 8);
  CHECK(o.report.completed == 0);
  CHECK(o.report.wall == 51ms);
}

TEST_CASE("a stop at a random moment, on every executor: what was trained is what was sunk, in order, and nothing is lost") {
  for (unsigned seed = 0; seed < 25; ++seed) {
    for (const auto& e : test::executors()) {
      CAPTURE(seed);
      CAPTURE(e.name);
      const auto clock = std::make_shared<SystemClock>();
      std::stop_source stop;
      pcg32 random(seed);
      const auto latency = [seed](std::uint64_t n) -> Clock::Time { return std::chrono::microseconds(pcg32(seed, n)() % 300); };
      std::vector<int> trained, sunk;
      const Feedback<int> student(std::make_shared<const int>(0), Staleness{random() % 3});
      const auto same = [](int n, Context&) -> Result<int> { return n; };
      auto flow = from("source", [n = 0](Context&) mutable { return std::optional(n++); })
                      .then("teacher", any_order(8), test::Delayed<int, int>{clock, latency, same}, reads(student))
                      .then("train", in_sequence(), test::Delayed<int, int>{clock, latency, [&](int n, Context&) -> Result<int> {
                                                                              trained.push_back(n);
                                                                              return n;
                                                                            }},
                            publishes(student))
                      .into("sink", [&](int n, Context&) { sunk.push_back(n); });
      clock->call_at(clock->now() + std::chrono::microseconds(random() % 3000), [&] { stop.request_stop(); });
      const auto grace = std::chrono::microseconds(random() % 2 ? 0 : random() % 1000);
      const auto report = run(std::move(flow), {.depth = 1 + random() % 8, .threads = e.threads, .executor = e.executor, .stop = stop.get_token(), .stop_grace = grace, .clock = clock});
      CHECK(report.status == RunReport::Status::stopped);
      CHECK(report.admitted == report.retired);
      CHECK(report.completed == report.cut.value);
      CHECK(trained == sunk);
      CHECK(sunk.size() == report.cut.value);
      for (std::size_t n = 0; n < sunk.size(); ++n) CHECK(sunk[n] == static_cast<int>(n));
    }
  }
}
