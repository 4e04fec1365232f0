// Byte credits: what batches may need at most fits, the oldest is always let in, and no value changes.
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <pcg_random.hpp>
#include <vector>

#include "graph/engine.hpp"
#include "tests/support/delayed.hpp"
#include "tests/support/executors.hpp"

using namespace pipestill;
using namespace pipestill::graph;
using namespace std::chrono_literals;

namespace {

/// What the sink saw, and the report.
struct Sunk {
  std::vector<std::uint64_t> batches;
  RunReport report;
};

using Bytes = std::function<std::uint64_t(std::uint64_t n)>;
using Latency = std::function<Clock::Time(std::uint64_t n)>;

/// A teacher that gives back all but `left(n)` of what batch n reserved, and a training step behind it.
Sunk run_with(EngineOptions options, std::uint64_t batches, Bytes reserved, Bytes left, const Latency& teacher, const Latency& training) {
  const auto clock = options.clock ? options.clock : std::make_shared<SystemClock>();
  options.clock = clock;
  Sunk outcome;
  auto flow = from("source",
                   [=, n = std::uint64_t{0}](Context& context) mutable -> std::optional<std::uint64_t> {
                     if (n == batches) return std::nullopt;
                     context.bytes = reserved(n);
                     return n++;
                   })
                  .then("teacher", any_order(options.depth), test::Delayed<std::uint64_t, std::uint64_t>{clock, teacher,
                                                                                                        [left](std::uint64_t n, Context& context) -> Result<std::uint64_t> {
                                                                                                          context.bytes = left(n);
                                                                                                          return n;
                                                                                                        }})
                  .then("training", in_sequence(), test::Delayed<std::uint64_t, std::uint64_t>{clock, training, [](std::uint64_t n, Context&) -> Result<std::uint64_t> { return n; }}, commits)
                  .into("sink", [&](std::uint64_t n, Context&) { outcome.batches.push_back(n); });
  outcome.report = run(std::move(flow), options);
  return outcome;
}

Latency fixed(Clock::Time time) {
  return [time](std::uint64_t) { return time; };
}
Bytes constant(std::uint64_t bytes) {
  return [bytes](std::uint64_t) { return bytes; };
}

double simulated_ms(std::uint64_t depth_bytes, std::uint64_t reserved, std::uint64_t left, RunReport* report = nullptr) {
  const auto outcome = run_with({.depth = 4, .executor = Executor::small, .clock = std::make_shared<SimulatedClock>(), .depth_bytes = depth_bytes}, 10, constant(reserved), constant(left),
                                fixed(20ms), fixed(10ms));
  REQUIRE(outcome.report.status == RunReport::Status::finished);
  if (report) *report = outcome.report;
  return std::chrono::duration<double, std::milli>(outcome.report.wall).count();
}

}  // namespace

TEST_CASE("a batch waits for memory until it fits, and what its teacher gives back lets the next one in") {
  RunReport report;
  // No limit: training is the bottleneck behind the first answers.
  CHECK(simulated_ms(0, 60, 60, &report) == doctest::Approx(20 + 10 * 10));
  CHECK(report.byte_wait == 0ns);
  CHECK(report.peak_bytes == 0);
  // One at a time.
  CHECK(simulated_ms(100, 60, 60, &report) == doctest::Approx(10 * 30));
  CHECK(report.byte_wait > 0ns);
  CHECK(report.peak_bytes == 60);
  // The teacher gives back 50 of 60: the next batch's 60 fit beside the 10 that are left.
  CHECK(simulated_ms(100, 60, 10, &report) == doctest::Approx(10 * 20 + 10));
  CHECK(report.peak_bytes == 70);
  // Two at a time.
  CHECK(simulated_ms(120, 60, 60) < 10 * 30 - 50);
}

TEST_CASE("the oldest batch is let in though it alone is too large") {
  RunReport report;
  CHECK(simulated_ms(100, 1000, 1000, &report) == doctest::Approx(10 * 30));
  CHECK(report.peak_bytes == 1000);
}

TEST_CASE("whatever batches need and however long they take: in order, each once, never above the limit but for one alone") {
  constexpr std::uint64_t kBatches = 60, kLimit = 1000;
  std::vector<std::uint64_t> in_order(kBatches);
  for (std::uint64_t n = 0; n < kBatches; ++n) in_order[n] = n;
  for (unsigned seed = 0; seed < 4; ++seed) {
    for (const auto& e : test::executors()) {
      CAPTURE(seed);
      CAPTURE(e.name);
      const auto draw = [seed](std::uint64_t stream, std::uint64_t n, std::uint32_t most) { return pcg32(seed * 100 + stream, n)() % most; };
      const Bytes reserved = [=](std::uint64_t n) { return draw(1, n, 1500); };
      const Bytes left = [=](std::uint64_t n) { return reserved(n) / 3; };
      const auto outcome = run_with({.depth = 5, .threads = e.threads, .executor = e.executor, .depth_bytes = kLimit}, kBatches, reserved, left,
                                    [=](std::uint64_t n) { return std::chrono::microseconds(draw(2, n, 400)); }, [=](std::uint64_t n) { return std::chrono::microseconds(draw(3, n, 200)); });
      REQUIRE(outcome.report.status == RunReport::Status::finished);
      CHECK(outcome.batches == in_order);
      CHECK(outcome.report.peak_bytes <= 1500);
      CHECK(outcome.report.peak_bytes > 500);
    }
  }
}

TEST_CASE("a failure while batches wait for memory ends the run") {
  for (const auto& e : test::executors()) {
    CAPTURE(e.name);
    const auto clock = std::make_shared<SystemClock>();
    std::vector<std::uint64_t> sunk;
    auto flow = from("source",
                     [n = std::uint64_t{0}](Context& context) mutable -> std::optional<std::uint64_t> {
                       context.bytes = 80;
                       return n++;
                     })
                    .then("teacher", any_order(4), test::Delayed<std::uint64_t, std::uint64_t>{clock, fixed(200us),
                                                                                              [](std::uint64_t n, Context&) -> Result<std::uint64_t> {
                                                                                                if (n == 5) return fail(ErrorCode::backend_failed, "broken");
                                                                                                return n;
                                                                                              }})
                    .into("sink", [&](std::uint64_t n, Context&) { sunk.push_back(n); });
    const auto report = run(std::move(flow), {.depth = 4, .threads = e.threads, .executor = e.executor, .clock = clock, .depth_bytes = 100});
    CHECK(report.status == RunReport::Status::failed);
    REQUIRE(report.failure);
    CHECK(report.failure->seq == Seq{5});
    CHECK(sunk == std::vector<std::uint64_t>{0, 1, 2, 3, 4});
    CHECK(report.admitted == report.retired);
  }
}
