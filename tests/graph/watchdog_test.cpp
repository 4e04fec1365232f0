// The watchdog: a run in which nothing moves says where, and ends only if it was told to.
#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "graph/engine.hpp"
#include "tests/support/delayed.hpp"
#include "tests/support/executors.hpp"

using namespace pipestill;
using namespace pipestill::graph;
using namespace std::chrono_literals;

namespace {

using Latency = std::function<Clock::Time(std::uint64_t n)>;

/// Four batches, the teacher's latency as given, a training step of 1 s of the clock.
ClosedFlow make_flow(const std::shared_ptr<Clock>& clock, Latency teacher, std::vector<std::uint64_t>& sunk) {
  const auto pass = [](std::uint64_t n, Context&) -> Result<std::uint64_t> { return n; };
  return from("source", [n = std::uint64_t{0}](Context&) mutable { return n < 4 ? std::optional(n++) : std::nullopt; })
      .then("teacher", any_order(4), test::Delayed<std::uint64_t, std::uint64_t>{clock, std::move(teacher), pass})
      .then("training", in_sequence(), test::Delayed<std::uint64_t, std::uint64_t>{clock, [](std::uint64_t) { return 1ms; }, pass}, commits)
      .into("sink", [&sunk](std::uint64_t n, Context&) { sunk.push_back(n); });
}

Latency slow_at(std::uint64_t batch, Clock::Time latency) {
  return [=](std::uint64_t n) { return n == batch ? latency : Clock::Time(1ms); };
}

}  // namespace

TEST_CASE("a stall is reported after stall_report and then ever more rarely, and the run goes on") {
  const auto clock = std::make_shared<SimulatedClock>();
  std::vector<std::uint64_t> sunk;
  std::vector<std::string> stalls;
  const auto report = run(make_flow(clock, slow_at(2, 100s), sunk), {.depth = 4,
                                                                     .executor = Executor::small,
                                                                     .clock = clock,
                                                                     .on_stall =
                                                                         [&](const Stall& stall) {
                                                                           CHECK(stall.oldest.stage == "teacher");
                                                                           CHECK(stall.oldest.seq == Seq{2});
                                                                           CHECK(stall.oldest.is_in_service);
                                                                           stalls.push_back(to_text(stall));
                                                                         },
                                                                     .stall_report = 10s});
  CHECK(report.status == RunReport::Status::finished);
  CHECK(sunk == std::vector<std::uint64_t>{0, 1, 2, 3});
  REQUIRE(stalls.size() == 4);  // after 10, 20, 40 and 80 s
  CHECK(stalls[0] == "nothing has moved for 10.0 s: batch 2 has been in teacher for 12.5 s");
  CHECK(stalls[3] == "nothing has moved for 80.0 s: batch 2 has been in teacher for 82.5 s");
}

TEST_CASE("nothing is reported while something moves") {
  const auto clock = std::make_shared<SimulatedClock>();
  std::vector<std::uint64_t> sunk;
  int stalls = 0;
  const auto report = run(make_flow(clock, [](std::uint64_t n) { return (n + 1) * 8s; }, sunk),
                          {.depth = 4, .executor = Executor::small, .clock = clock, .on_stall = [&](const Stall&) { ++stalls; }, .stall_report = 12s, .stall_timeout = 12s});
  CHECK(report.status == RunReport::Status::finished);
  CHECK(stalls == 0);
}

TEST_CASE("with stall_timeout the oldest batch fails, the batches before it stand, and what hangs is aborted") {
  for (const auto& e : test::executors()) {
    CAPTURE(e.name);
    const auto clock = std::make_shared<SystemClock>();
    std::vector<std::uint64_t> sunk;
    const auto report = run(make_flow(clock, slow_at(2, 1h), sunk), {.depth = 4, .threads = e.threads, .executor = e.executor, .clock = clock, .stall_timeout = 200ms});
    CHECK(report.status == RunReport::Status::failed);
    REQUIRE(report.failure);
    CHECK(report.failure->stage == "teacher");
    CHECK(report.failure->seq == Seq{2});
    CHECK(report.failure->error.code == ErrorCode::backend_failed);
    CHECK(report.failure->error.message.find("batch 2 has been in teacher for") != std::string::npos);
    CHECK(report.failure->error.message.find("engine.stall_timeout") != std::string::npos);
    CHECK(sunk == std::vector<std::uint64_t>{0, 1});
    CHECK(report.admitted == report.retired);
  }
}

TEST_CASE("a batch that waits before a stage is told apart from one in service") {
  const auto clock = std::make_shared<SimulatedClock>();
  std::vector<std::string> stalls;
  const auto pass = [](std::uint64_t n, Context&) -> Result<std::uint64_t> { return n; };
  // Batch 1 overtakes batch 0 and takes the only place.
  auto flow = from("source", [n = std::uint64_t{0}](Context&) mutable { return n < 2 ? std::optional(n++) : std::nullopt; })
                  .then("sampling", any_order(4), test::Delayed<std::uint64_t, std::uint64_t>{clock, [](std::uint64_t n) { return n == 0 ? 2s : 1s; }, pass})
                  .then("scoring", any_order(1), test::Delayed<std::uint64_t, std::uint64_t>{clock, [](std::uint64_t n) { return n == 0 ? 1s : 100s; }, pass})
                  .into("sink", [](std::uint64_t, Context&) {});
  const auto report = run(std::move(flow), {.depth = 2, .executor = Executor::small, .clock = clock, .on_stall = [&](const Stall& stall) { stalls.push_back(to_text(stall)); }, .stall_report = 60s});
  CHECK(report.status == RunReport::Status::finished);
  REQUIRE(stalls.size() == 1);
  CHECK(stalls[0] == "nothing has moved for 60.0 s: batch 0 has waited before scoring for 73.0 s");
}
