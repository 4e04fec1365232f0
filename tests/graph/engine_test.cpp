// Overlap, one history on one thread, and order with several places; tests/laws/ has order and versions under attack.
#include "graph/engine.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <pcg_random.hpp>

#include "tests/support/delayed.hpp"
#include "tests/support/executors.hpp"

using namespace pipestill;
using namespace pipestill::graph;
using namespace std::chrono_literals;

namespace {

using Latency = std::function<Clock::Time(std::uint64_t)>;

/// A run of sampling, building and training on the clock of the options.
RunReport distil(std::uint64_t batches, std::size_t staleness, const EngineOptions& options, const Latency& teacher, const Latency& training) {
  const auto same = [](std::uint64_t n, Context&) -> Result<std::uint64_t> { return n; };
  const Feedback<int> student(std::make_shared<const int>(0), Staleness{staleness});
  auto flow = from("batch_source", [batches, n = std::uint64_t{0}](Context&) mutable { return n < batches ? std::optional(n++) : std::nullopt; })
                  .then("student_sampling", any_order(8), test::Delayed<std::uint64_t, std::uint64_t>{options.clock, teacher, same}, reads(student))
                  .then("datum_builder", any_order(2), same)
                  .then("forward_backward", in_sequence(), test::Delayed<std::uint64_t, std::uint64_t>{options.clock, training, same}, publishes(student))
                  .into("metrics_sink", [](std::uint64_t, Context&) {});
  return run(std::move(flow), options);
}

Latency jitter(unsigned seed, int most_us) {
  return [=](std::uint64_t n) { return std::chrono::microseconds(pcg32(seed, n)() % static_cast<unsigned>(most_us)); };
}

}  // namespace

TEST_CASE("the small executor with one thread and a simulated clock reaches the bound of the slowest stage") {
  // 20 ms a teacher call, 10 ms a training step, nothing read from the student: batch n begins when batch n - depth has retired.
  for (const std::size_t depth : {1, 2, 4, 8}) {
    const auto clock = std::make_shared<SimulatedClock>();
    const auto fixed = [](Clock::Time t) { return [t](std::uint64_t) { return t; }; };
    const auto report = distil(100, 100, {.depth = depth, .executor = Executor::small, .clock = clock}, fixed(20ms), fixed(10ms));
    std::vector<Clock::Time> retired(100);
    for (std::size_t n = 0; n < 100; ++n) {
      const auto begun = n >= depth ? retired[n - depth] : Clock::Time{};
      retired[n] = std::max(begun + 20ms, n ? retired[n - 1] : Clock::Time{}) + 10ms;
    }
    CAPTURE(depth);
    CHECK(report.wall == retired.back());
  }
}

TEST_CASE("the small executor with one thread makes the same history each time") {
  const auto history = [] {
    struct Log final : Trace {
      std::string text;
      void started(std::string_view stage, Seq seq, Clock::Time at) noexcept override {
        text += std::string(stage) + " " + std::to_string(seq.value) + " " + std::to_string(at.count()) + "\n";
      }
      void ended(const StageSpan& span) noexcept override { text += "end " + std::to_string(span.ended.count()) + "\n"; }
      void failed(const StageSpan&, const Error&) noexcept override {}
    } log;
    (void)distil(30, 2, {.depth = 4, .executor = Executor::small, .clock = std::make_shared<SimulatedClock>(), .trace = &log}, jitter(5, 900), jitter(6, 500));
    return log.text;
  };
  const auto first = history();
  CHECK(first.size() > 1000);
  CHECK(history() == first);
}

TEST_CASE("an asynchronous stage in sequence with several places begins in order and delivers in order") {
  for (const auto& e : test::executors()) {
    CAPTURE(e.name);
    const auto clock = std::make_shared<SystemClock>();
    std::vector<std::uint64_t> begun, sunk;
    auto flow = from("source", [n = std::uint64_t{0}](Context&) mutable { return n < 200 ? std::optional(n++) : std::nullopt; })
                    .then("jitter", any_order(8), test::Delayed<std::uint64_t, std::uint64_t>{clock, jitter(9, 200), [](std::uint64_t n, Context&) -> Result<std::uint64_t> { return n; }})
                    .then("ordered", in_sequence(3), test::Delayed<std::uint64_t, std::uint64_t>{clock, jitter(10, 200), [&](std::uint64_t n, Context&) -> Result<std::uint64_t> {
                                                                                                     begun.push_back(n);
                                                                                                     return n;
                                                                                                   }})
                    .into("sink", [&](std::uint64_t n, Context&) { sunk.push_back(n); });
    const auto report = run(std::move(flow), {.depth = 8, .threads = e.threads, .executor = e.executor, .clock = clock});
    CHECK(report.status == RunReport::Status::finished);
    CHECK(begun.size() == 200);
    CHECK(std::is_sorted(begun.begin(), begun.end()));
    CHECK(sunk.size() == 200);
    CHECK(std::is_sorted(sunk.begin(), sunk.end()));
  }
}

namespace {

/// Counts its calls from their begin to their answer, which comes from the clock's thread.
struct Counted {
  using Output = std::uint64_t;
  struct Calls {
    std::atomic<std::size_t> outstanding{0}, most{0};
    std::mutex mutex;
    std::vector<std::uint64_t> begun;  // under mutex
  };
  std::shared_ptr<Clock> clock;
  std::shared_ptr<Calls> calls = std::make_shared<Calls>();

  void operator()(std::uint64_t n, Context&, const Completion<std::uint64_t>& done) const {
    const auto now = ++calls->outstanding;
    for (auto seen = calls->most.load(); now > seen && !calls->most.compare_exchange_weak(seen, now);) {}
    {
      std::lock_guard lock(calls->mutex);
      calls->begun.push_back(n);
    }
    clock->call_at(clock->now() + std::chrono::microseconds(n % 7 == 3 ? 150 : n % 3 * 20), [n, done, calls = calls] {
      --calls->outstanding;
      done(n);
    });
  }
};

}  // namespace

TEST_CASE("no more calls of an asynchronous stage are outstanding than its limit, in order or not, whether it reads the student or not") {
  constexpr std::uint64_t kBatches = 40;
  const auto same = [](std::uint64_t n, Context&) -> Result<std::uint64_t> { return n; };
  const auto clock = std::make_shared<SystemClock>();
  for (const auto& e : test::executors()) {
    for (const int kind : {0, 1, 2, 3}) {
      const bool is_in_sequence = (kind & 1) != 0, is_reading = (kind & 2) != 0;
      for (const std::size_t limit : {1, 2, 3}) {
        for (const std::size_t depth : {2, 4, 8}) {
          CAPTURE(e.name);
          CAPTURE(is_in_sequence);
          CAPTURE(is_reading);
          CAPTURE(limit);
          CAPTURE(depth);
          const Counted stage{clock};
          const Feedback<int> student(std::make_shared<const int>(0), Staleness{depth});
          std::vector<std::uint64_t> sunk;
          const auto run_with = [&](auto order) {
            const EngineOptions options{.depth = depth, .threads = e.threads, .executor = e.executor, .clock = clock};
            const auto sink = [&](std::uint64_t n, Context&) { sunk.push_back(n); };
            auto source = from("source", [n = std::uint64_t{0}](Context&) mutable { return n < kBatches ? std::optional(n++) : std::nullopt; })
                              .then("jitter", any_order(8), test::Delayed<std::uint64_t, std::uint64_t>{clock, jitter(9, 60), same});
            if (!is_reading) return run(std::move(source).then("called", order, stage).into("sink", sink), options);
            const auto train = [student](std::uint64_t n, Context& context) mutable {
              student.publish(context, std::make_shared<const int>(static_cast<int>(n)));
              return n;
            };
            return run(std::move(source).then("called", order, stage, reads(student)).then("train", in_sequence(), train, publishes(student)).into("sink", sink), options);
          };
          const auto report = is_in_sequence ? run_with(in_sequence(limit)) : run_with(any_order(limit));
          CHECK(report.status == RunReport::Status::finished);
          CHECK(stage.calls->most <= limit);
          CHECK(stage.calls->begun.size() == kBatches);
          CHECK((!is_in_sequence || std::is_sorted(stage.calls->begun.begin(), stage.calls->begun.end())));
          CHECK(sunk.size() == kBatches);
          CHECK(std::is_sorted(sunk.begin(), sunk.end()));
        }
      }
    }
  }
}

TEST_CASE("a batch that publishes nothing passes the newest student on, as a version of its own") {
  const Feedback<int> student(std::make_shared<const int>(0), Staleness{0});
  std::vector<std::pair<std::uint64_t, int>> seen;
  auto flow = from("source", [n = 0](Context&) mutable { return n < 6 ? std::optional(n++) : std::nullopt; })
                  .then("read", in_sequence(),
                        [&, student](int n, Context& c) {
                          seen.emplace_back(c.lease.version.value, *student.of(c));
                          return n;
                        },
                        reads(student))
                  .then("publish", in_sequence(),
                        [student](int n, Context& c) {
                          if (n % 2 == 0) student.publish(c, std::make_shared<const int>(n + 1));
                          return n;
                        },
                        publishes(student))
                  .into("sink", [](int, Context&) {});
  REQUIRE(run(std::move(flow), {.executor = Executor::small}).status == RunReport::Status::finished);
  CHECK(seen == std::vector<std::pair<std::uint64_t, int>>{{0, 0}, {1, 1}, {2, 1}, {3, 3}, {4, 3}, {5, 5}});
}
