// The cut: a failure at N lets earlier batches finish, and the lowest N is reported.
#include <doctest/doctest.h>

#include <pcg_random.hpp>
#include <stdexcept>

#include "graph/engine.hpp"
#include "tests/support/delayed.hpp"
#include "tests/support/executors.hpp"

using namespace pipestill;
using namespace pipestill::graph;
using namespace std::chrono_literals;

namespace {

enum class Way { returns_error, throws, completes_with_error, throws_from_start, drops_completion, throws_unknown };

struct Faults {
  std::string stage;
  std::vector<std::uint64_t> at;
  Way way = Way::returns_error;

  [[nodiscard]] bool hits(const std::string& name, std::uint64_t n) const { return name == stage && std::find(at.begin(), at.end(), n) != at.end(); }
};

Result<std::uint64_t> maybe_fail(const Faults& faults, const std::string& name, std::uint64_t n) {
  if (!faults.hits(name, n)) return n;
  if (faults.way == Way::throws) throw std::runtime_error("broke at " + std::to_string(n));
  if (faults.way == Way::throws_unknown) throw 42;
  return fail(ErrorCode::backend_failed, "broke at " + std::to_string(n));
}

struct Outcome {
  RunReport report;
  std::vector<std::uint64_t> trained, sunk;
};

Outcome run_with(const Faults& faults, const test::ExecutorCase& e, std::size_t depth, unsigned seed, std::size_t staleness) {
  Outcome outcome;
  const auto clock = std::make_shared<SystemClock>();
  const auto latency = [seed](std::uint64_t n) -> Clock::Time { return std::chrono::microseconds(pcg32(seed, n)() % 300); };
  struct Async {  // fails in the ways that only an asynchronous stage has
    using Output = std::uint64_t;
    const Faults& faults;
    std::string name;
    test::Delayed<std::uint64_t, std::uint64_t> delayed;
    std::vector<std::uint64_t>* log = nullptr;
    void operator()(std::uint64_t n, Context& c, Completion<std::uint64_t> done) {
      if (log) log->push_back(n);
      if (faults.hits(name, n) && faults.way == Way::throws_from_start) throw std::runtime_error("broke at " + std::to_string(n));
      if (faults.hits(name, n) && faults.way == Way::drops_completion) return;
      delayed(n, c, std::move(done));
    }
  };
  const auto async = [&](std::string name, std::vector<std::uint64_t>* log) {
    return Async{faults, name, {clock, latency, [&faults, name](std::uint64_t n, Context&) -> Result<std::uint64_t> {
                                  if (faults.hits(name, n) && faults.way == Way::completes_with_error) return fail(ErrorCode::backend_failed, "broke at " + std::to_string(n));
                                  return n;
                                }},
                 log};
  };
  const auto call = [&](std::string name) { return [&faults, name](std::uint64_t n, Context&) { return maybe_fail(faults, name, n); }; };
  const Feedback<int> student(std::make_shared<const int>(0), Staleness{staleness});
  auto flow = from("batch_source",
                   [&, n = std::uint64_t{0}](Context&) mutable -> Result<std::optional<std::uint64_t>> {
                     if (n == 60) return std::nullopt;
                     if (auto r = maybe_fail(faults, "batch_source", n); !r) return fail(r.error());
                     return n++;
                   })
                  .then("teacher_inference", any_order(4), async("teacher_inference", nullptr), reads(student))
                  .then("datum_builder", any_order(2), call("datum_builder"))
                  .then("forward_backward", in_sequence(), async("forward_backward", &outcome.trained), publishes(student))
                  .then("evaluation", in_sequence(), call("evaluation"))
                  .into("metrics_sink", [&](std::uint64_t n, Context&) -> Result<void> {
                    if (auto r = maybe_fail(faults, "metrics_sink", n); !r) return fail(r.error());
                    outcome.sunk.push_back(n);
                    return {};
                  });
  outcome.report = run(std::move(flow), {.depth = depth, .threads = e.threads, .executor = e.executor, .clock = clock});
  return outcome;
}

void check_cut_at(const Outcome& o, std::uint64_t n, const std::string& stage, bool trains_the_failing) {
  REQUIRE(o.report.status == RunReport::Status::failed);
  CHECK(o.report.failure->stage == stage);
  REQUIRE(o.report.failure->seq.has_value());
  CHECK(o.report.failure->seq->value == n);
  CHECK(o.report.cut.value == n);
  CHECK(o.report.admitted == o.report.retired);
  CHECK(o.report.completed == n);
  REQUIRE(o.sunk.size() == n);
  for (std::uint64_t k = 0; k < n; ++k) CHECK(o.sunk[k] == k);
  if (!trains_the_failing) CHECK(o.trained.size() == n);
}

}  // namespace

TEST_CASE("a failure in any stage, in any way, cuts exactly there") {
  struct Where {
    std::string stage;
    bool is_async, trains_the_failing;
  };
  const std::vector<Where> places{{"batch_source", false, false}, {"teacher_inference", true, false}, {"datum_builder", false, false},
                                  {"forward_backward", true, true}, {"evaluation", false, true}, {"metrics_sink", false, true}};
  for (const auto& where : places) {
    const auto ways = where.is_async ? std::vector{Way::completes_with_error, Way::throws_from_start, Way::drops_completion}
                                     : std::vector{Way::returns_error, Way::throws, Way::throws_unknown};
    for (const auto way : ways) {
      for (const auto& e : test::executors()) {
        for (const std::size_t s : {0, 3}) {
          CAPTURE(where.stage);
          CAPTURE(static_cast<int>(way));
          CAPTURE(e.name);
          CAPTURE(s);
          check_cut_at(run_with({where.stage, {17}, way}, e, 5, 1, s), 17, where.stage, where.trains_the_failing);
        }
      }
    }
  }
}

TEST_CASE("of several failures the lowest is reported, whichever happens first") {
  for (unsigned seed = 0; seed < 20; ++seed) {
    for (const auto& e : test::executors()) {
      CAPTURE(seed);
      CAPTURE(e.name);
      check_cut_at(run_with({"teacher_inference", {19, 20, 18, 21}, Way::completes_with_error}, e, 8, seed, 7), 18, "teacher_inference", false);
    }
  }
}

TEST_CASE("a failure at the first batch leaves nothing trained and still drains") {
  for (const auto& e : test::executors()) {
    CAPTURE(e.name);
    check_cut_at(run_with({"teacher_inference", {0}, Way::completes_with_error}, e, 8, 3, 0), 0, "teacher_inference", false);
  }
}

TEST_CASE("a failure aborts the calls of the batches behind it, and not of those before") {
  // Batch 2 fails at 1 ms; batches 3.. would take an hour of simulated time; batch 1 takes 10 ms and must finish.
  const auto clock = std::make_shared<SimulatedClock>();
  std::vector<int> sunk;
  auto flow = from("source", [n = 0](Context&) mutable { return n < 8 ? std::optional(n++) : std::nullopt; })
                  .then("teacher", any_order(8), test::Delayed<int, int>{clock,
                                                                         [](std::uint64_t n) -> Clock::Time { return n < 2 ? 10ms : n == 2 ? 1ms : Clock::Time(1h); },
                                                                         [](int n, Context&) -> Result<int> {
                                                                           if (n == 2) return fail(ErrorCode::backend_failed, "broke");
                                                                           return n;
                                                                         }})
                  .into("sink", [&](int n, Context&) { sunk.push_back(n); });
  const auto report = run(std::move(flow), {.depth = 8, .executor = Executor::small, .clock = clock});
  CHECK(report.failure->seq->value == 2);
  CHECK(sunk == std::vector{0, 1});
  CHECK(report.wall == 10ms);
}

TEST_CASE("a completion that is called twice counts once") {
  struct Twice {
    using Output = int;
    void operator()(int n, Context&, Completion<int> done) {
      done(n);
      done(n + 100);
      done(fail(ErrorCode::internal, "late"));
    }
  };
  for (const auto& e : test::executors()) {
    std::vector<int> sunk;
    auto flow = from("source", [n = 0](Context&) mutable { return n < 50 ? std::optional(n++) : std::nullopt; })
                    .then("twice", any_order(4), Twice{})
                    .into("sink", [&](int n, Context&) { sunk.push_back(n); });
    const auto report = run(std::move(flow), {.threads = e.threads, .executor = e.executor});
    CHECK(report.status == RunReport::Status::finished);
    CHECK(sunk.size() == 50);
    CHECK(std::is_sorted(sunk.begin(), sunk.end()));
  }
}
