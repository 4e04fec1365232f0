// A run that goes on where another one was cut.
#include <doctest/doctest.h>

#include <algorithm>
#include <mutex>
#include <pcg_random.hpp>
#include <vector>

#include "graph/engine.hpp"
#include "graph/feedback.hpp"
#include "tests/support/delayed.hpp"
#include "tests/support/executors.hpp"

using namespace pipestill;
using namespace pipestill::graph;

namespace {

using Student = std::uint64_t;
using Students = std::vector<std::shared_ptr<const Student>>;

constexpr std::uint64_t kAll = 40;

Student trained(Student before, std::uint64_t batch, Student sampler) { return (before * 31 + batch) * 31 + sampler + 1; }

/// Version n is what n batches have made of the student, one after the other.
std::vector<Student> versions_at(std::size_t staleness) {
  std::vector<Student> versions{7};
  for (std::uint64_t n = 0; n < kAll; ++n) versions.push_back(trained(versions[n], n, versions[n > staleness ? n - staleness : 0]));
  return versions;
}

/// What the first batches of a run from `first` on read.
Students initial_of(const std::vector<Student>& versions, std::uint64_t first, std::size_t staleness) {
  Students initial;
  for (std::uint64_t n = first; n <= first + staleness; ++n) initial.push_back(std::make_shared<const Student>(versions[n > staleness ? n - staleness : 0]));
  return initial;
}

struct Lived {
  std::mutex mutex;
  std::vector<std::uint64_t> yielded, sunk;
  std::vector<std::pair<std::uint64_t, Student>> read = std::vector<std::pair<std::uint64_t, Student>>(kAll);  // by batch: version and value
  Student student = 0;
  RunReport report;
};

/// Batches from options.first to kAll; training fails at `fails_at`.
std::unique_ptr<Lived> run_from(const Students& initial, std::size_t staleness, EngineOptions options, bool is_in_sequence, unsigned seed, std::uint64_t fails_at = kAll) {
  auto lived = std::make_unique<Lived>();
  options.clock = std::make_shared<SystemClock>();
  lived->student = *initial.back();
  const auto late = [seed](std::uint64_t n) { return std::chrono::microseconds(pcg32(seed, n)() % 300); };
  const Feedback<Student> student(initial, Staleness{staleness});
  const auto read = [l = lived.get(), student](std::uint64_t n, Context& c) -> Result<std::uint64_t> {
    std::lock_guard lock(l->mutex);
    l->read[n] = {c.lease.version.value, *student.of(c)};
    return n;
  };
  const auto train = [l = lived.get(), student, fails_at](std::uint64_t n, Context& c) -> Result<std::uint64_t> {
    if (n == fails_at) return fail(ErrorCode::backend_failed, "as it was told");
    l->student = trained(l->student, n, *student.of(c));
    student.publish(c, std::make_shared<const Student>(l->student));
    return n;
  };
  const auto run_with = [&](auto order) {
    auto flow = from("source", [l = lived.get()](Context& c) {
                  if (c.seq.value == kAll) return std::optional<std::uint64_t>();
                  l->yielded.push_back(c.seq.value);
                  c.bytes = 10;
                  return std::optional(c.seq.value);
                })
                    .then("prepare", order, test::Delayed<std::uint64_t, std::uint64_t>{options.clock, late, [](std::uint64_t n, Context&) -> Result<std::uint64_t> { return n; }})
                    .then("sample", order, test::Delayed<std::uint64_t, std::uint64_t>{options.clock, late, read}, reads(student))
                    .then("train", in_sequence(), test::Delayed<std::uint64_t, std::uint64_t>{options.clock, late, train}, publishes(student))
                    .into("sink", [l = lived.get()](std::uint64_t n, Context& c) {
                      CHECK(c.seq.value == n);
                      l->sunk.push_back(n);
                    });
    lived->report = run(std::move(flow), options);
  };
  if (is_in_sequence) run_with(in_sequence(2));
  else run_with(any_order(3));
  return lived;
}

std::vector<std::uint64_t> numbers(std::uint64_t from, std::uint64_t to) {
  std::vector<std::uint64_t> all;
  for (; from < to; ++from) all.push_back(from);
  return all;
}

}  // namespace

TEST_CASE("a run from any batch on is the rest of the whole run: numbers, versions, students, order") {
  unsigned seed = 0;
  for (const auto& executor : test::executors()) {
    for (const std::size_t staleness : {0u, 1u, 4u}) {
      const auto versions = versions_at(staleness);
      for (const std::uint64_t first : {1u, 17u, 39u, 40u}) {
        for (const std::size_t depth : {1u, 8u}) {
          for (const bool is_in_sequence : {false, true}) {
            CAPTURE(executor.name);
            CAPTURE(staleness);
            CAPTURE(first);
            CAPTURE(depth);
            CAPTURE(is_in_sequence);
            const EngineOptions options{.first = {first}, .depth = depth, .threads = executor.threads, .executor = executor.executor, .depth_bytes = seed % 2 == 0 ? 0u : 25u};
            const auto lived = run_from(initial_of(versions, first, staleness), staleness, options, is_in_sequence, ++seed);
            CHECK(lived->report.status == RunReport::Status::finished);
            CHECK(lived->report.admitted == kAll - first);
            CHECK(lived->report.completed == kAll - first);
            CHECK(lived->report.cut.value == kAll);
            CHECK(lived->report.version.value == kAll);
            CHECK(lived->yielded == numbers(first, kAll));
            CHECK(lived->sunk == numbers(first, kAll));
            CHECK(lived->student == versions.back());
            for (std::uint64_t n = first; n < kAll; ++n) {
              const std::uint64_t version = n > staleness ? n - staleness : 0;
              CHECK(lived->read[n] == std::pair(version, versions[version]));
            }
          }
        }
      }
    }
  }
}

TEST_CASE("a run that fails behind its first batch is cut there, and the next one ends in the whole run's student") {
  unsigned seed = 1000;
  for (const auto& executor : test::executors()) {
    for (const std::size_t staleness : {0u, 2u}) {
      const auto versions = versions_at(staleness);
      std::uint64_t first = 5;
      for (const std::uint64_t fails_at : {5u, 6u, 20u, 21u}) {
        CAPTURE(executor.name);
        CAPTURE(staleness);
        CAPTURE(fails_at);
        const EngineOptions options{.first = {first}, .depth = 4, .threads = executor.threads, .executor = executor.executor};
        const auto lived = run_from(initial_of(versions, first, staleness), staleness, options, false, ++seed, fails_at);
        REQUIRE(lived->report.failure);
        CHECK(lived->report.failure->seq == Seq{fails_at});
        CHECK(lived->report.cut.value == fails_at);
        CHECK(lived->report.version.value == fails_at);
        CHECK(lived->sunk == numbers(first, fails_at));
        CHECK(lived->student == versions[fails_at]);
        first = fails_at;
      }
      const auto rest = run_from(initial_of(versions, first, staleness), staleness, {.first = {first}, .depth = 4, .threads = executor.threads, .executor = executor.executor}, false, ++seed);
      CHECK(rest->report.status == RunReport::Status::finished);
      CHECK(rest->student == versions.back());
    }
  }
}

TEST_CASE("a stop before the first batch of a run that goes on cuts it where it began") {
  std::stop_source stop;
  stop.request_stop();
  for (const auto& executor : test::executors()) {
    const auto lived = run_from(initial_of(versions_at(1), 9, 1), 1, {.first = {9}, .threads = executor.threads, .executor = executor.executor, .stop = stop.get_token()}, false, 1);
    CHECK(lived->report.status == RunReport::Status::stopped);
    CHECK(lived->report.cut.value == 9);
    CHECK(lived->report.version.value == 9);
    CHECK(lived->report.admitted == 0);
  }
}

TEST_CASE("initial values that are not one for each of the first batches are refused") {
  auto initial = initial_of(versions_at(2), 9, 2);
  initial.pop_back();
  const auto lived = run_from(initial, 2, {.first = {9}, .executor = Executor::small}, false, 1);
  REQUIRE(lived->report.failure);
  CHECK(lived->report.failure->error.code == ErrorCode::invalid_input);
  CHECK(lived->report.failure->error.message == "the feedback has 2 initial values: at staleness 2 the first 3 batches read one each");
}
