// Order, exactly-once, exact versions, bounded memory, overlap.
#include "graph/engine.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <numeric>
#include <pcg_random.hpp>

#include "tests/support/delayed.hpp"
#include "tests/support/executors.hpp"

using namespace pipestill;
using namespace pipestill::graph;
using namespace std::chrono_literals;

namespace {

/// The weights of a student that notices everything: which batches it trained on, in which order, sampled with which version.
struct Student {
  std::uint64_t state = 1;
  std::uint64_t batches = 0;
};

class CountedStudents {  // how many snapshots live at once
 public:
  std::shared_ptr<const Student> make(Student student) {
    const auto live = ++live_;
    for (auto peak = peak_.load(); live > peak && !peak_.compare_exchange_weak(peak, live);) {
    }
    return {new Student(student), [this](const Student* s) {
              delete s;
              --live_;
            }};
  }
  [[nodiscard]] int peak() const { return peak_; }

 private:
  std::atomic<int> live_{0}, peak_{0};
};

struct Answer {
  std::uint64_t n = 0, version = 0, state = 0;
};

struct Outcome {
  RunReport report;
  std::vector<std::uint64_t> trained, versions, sunk;
  std::uint64_t final_state = 0;
  int peak_snapshots = 0;
  std::size_t peak_in_flight = 0;
};

using Latency = std::function<Clock::Time(std::uint64_t)>;

Outcome distil(std::uint64_t batches, std::size_t staleness, EngineOptions options, const Latency& teacher, const Latency& training) {
  Outcome outcome;
  CountedStudents students;
  const auto clock = options.clock ? options.clock : std::make_shared<SystemClock>();
  options.clock = clock;
  std::atomic<std::size_t> in_flight{0}, peak_in_flight{0};
  {
    const Feedback<Student> student(students.make({}), Staleness{staleness});
    auto newest = std::make_shared<Student>();
    auto flow =
        from("batch_source",
             [&, n = std::uint64_t{0}](Context&) mutable -> std::optional<std::uint64_t> {
               if (n == batches) return std::nullopt;
               const auto now = ++in_flight;
               for (auto peak = peak_in_flight.load(); now > peak && !peak_in_flight.compare_exchange_weak(peak, now);) {
               }
               return n++;
             })
            .then("student_sampling", any_order(8),
                  test::Delayed<std::uint64_t, Answer>{clock, teacher,
                                                 [student](std::uint64_t n, Context& c) -> Result<Answer> {
                                                   return Answer{n, c.lease.version.value, student.of(c)->state * 31 + n};
                                                 }},
                  reads(student))
            .then("datum_builder", any_order(2), [](Answer a, Context&) { return a; })
            .then("forward_backward", in_sequence(),
                  test::Delayed<Answer, Answer>{clock, training,
                                          [&, student, newest](Answer a, Context& c) -> Result<Answer> {
                                            outcome.trained.push_back(a.n);
                                            outcome.versions.push_back(a.version);
                                            newest->state = newest->state * 1'000'003 + a.state;
                                            ++newest->batches;
                                            student.publish(c, students.make(*newest));
                                            return a;
                                          }},
                  publishes(student))
            .into("metrics_sink", [&](Answer a, Context&) {
              outcome.sunk.push_back(a.n);
              --in_flight;
            });
    outcome.report = run(std::move(flow), options);
    outcome.final_state = newest->state;
  }
  outcome.peak_snapshots = students.peak();
  outcome.peak_in_flight = peak_in_flight;
  return outcome;
}

Latency jitter(unsigned seed, int most_us) {
  return [=](std::uint64_t n) { return std::chrono::microseconds(pcg32(seed, n)() % static_cast<unsigned>(most_us)); };
}

}  // namespace

TEST_CASE("order, exactly once, version max(0, N - s), credits and snapshots: whatever depth, threads, executor and timing") {
  constexpr std::uint64_t kBatches = 40;
  std::vector<std::uint64_t> in_order(kBatches);
  std::iota(in_order.begin(), in_order.end(), 0);
  for (const std::size_t s : {0, 1, 2, 4}) {
    std::optional<std::uint64_t> trajectory;
    for (const std::size_t depth : {1, 2, 3, 8}) {
      for (unsigned seed = 0; seed < 3; ++seed) {
        for (const auto& e : test::executors()) {
          CAPTURE(s);
          CAPTURE(depth);
          CAPTURE(seed);
          CAPTURE(e.name);
          const auto o = distil(kBatches, s, {.depth = depth, .threads = e.threads, .executor = e.executor}, jitter(seed, 300), jitter(seed + 100, 100));
          REQUIRE(o.report.status == RunReport::Status::finished);
          REQUIRE(o.trained == in_order);
          REQUIRE(o.sunk == in_order);
          for (std::uint64_t n = 0; n < kBatches; ++n) REQUIRE(o.versions[n] == (n > s ? n - s : 0));
          REQUIRE(o.report.admitted == kBatches);
          REQUIRE(o.report.retired == kBatches);
          REQUIRE(o.report.completed == kBatches);
          REQUIRE(o.peak_in_flight <= depth);
          REQUIRE(o.peak_snapshots <= static_cast<int>(s) + 2);
          if (!trajectory) trajectory = o.final_state;
          REQUIRE(o.final_state == *trajectory);
        }
      }
    }
  }
}

TEST_CASE("staleness changes what is learnt: the test above can tell trajectories apart") {
  const auto state = [](std::size_t s) { return distil(10, s, {.executor = Executor::small}, jitter(1, 100), jitter(2, 100)).final_state; };
  CHECK(state(0) != state(1));
  CHECK(state(1) != state(2));
}

TEST_CASE("the small executor with one thread and a simulated clock reaches the bound of the slowest stage") {
  // 20 ms a teacher call, 10 ms a training step, nothing read from the student: batch n begins when batch n - depth has retired.
  for (const std::size_t depth : {1, 2, 4, 8}) {
    const auto clock = std::make_shared<SimulatedClock>();
    const auto fixed = [](Clock::Time t) { return [t](std::uint64_t) { return t; }; };
    const auto o = distil(100, 100, {.depth = depth, .executor = Executor::small, .clock = clock}, fixed(20ms), fixed(10ms));
    std::vector<Clock::Time> retired(100);
    for (std::size_t n = 0; n < 100; ++n) {
      const auto begun = n >= depth ? retired[n - depth] : Clock::Time{};
      retired[n] = std::max(begun + 20ms, n ? retired[n - 1] : Clock::Time{}) + 10ms;
    }
    CAPTURE(depth);
    CHECK(o.report.wall == retired.back());
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
