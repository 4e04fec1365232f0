// The cut: in every kind of stage, in every way to fail, and in forced orders.
#include <doctest/doctest.h>

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <thread>

#include "tests/laws/rig.hpp"
#include "tests/laws/watchdog.hpp"
#include "tests/support/executors.hpp"

using namespace pipestill;
using namespace pipestill::laws;
using Part = StageSpec::Part;

namespace {

/// Runs on every executor, on real time.
void expect_lawful(FlowSpec spec, const std::function<std::unique_ptr<Answers>(const std::shared_ptr<Clock>&)>& make) {
  for (const auto& e : test::executors()) {
    spec.executor = e.executor;
    spec.threads = e.threads;
    const auto what = to_text(spec);
    const Watchdog watchdog([&] { return what; });
    const auto clock = std::make_shared<SystemClock>();
    const auto answers = make(clock);
    const auto outcome = run_lawfully(spec, *answers, clock);
    CHECK_MESSAGE(outcome.broken.empty(), what, to_text(outcome.broken));
  }
}

std::vector<StageSpec> asynchronous_stages() {
  return {{.name = "any_async", .is_async = true, .limit = 3},
          {.name = "reading_async", .part = Part::reads, .is_async = true, .limit = 4},
          {.name = "sequence_async", .is_in_sequence = true, .is_async = true, .limit = 2},
          {.name = "publishing_async", .part = Part::trains, .is_in_sequence = true, .is_async = true},
          {.name = "observing_async", .part = Part::observes, .is_in_sequence = true, .is_async = true, .limit = 2}};
}
std::vector<StageSpec> returning_stages() {
  return {{.name = "any_call", .limit = 3},
          {.name = "reading_call", .part = Part::reads, .limit = 2},
          {.name = "sequence_call", .is_in_sequence = true},
          {.name = "publishing_call", .part = Part::trains, .is_in_sequence = true},
          {.name = "observing_call", .part = Part::observes, .is_in_sequence = true}};
}
std::vector<StageSpec> off_policy_stages() {
  return {{.name = "teacher", .is_async = true, .limit = 6}, {.name = "builder", .limit = 2}, {.name = "trainer", .part = Part::trains, .is_in_sequence = true, .is_async = true}};
}

std::vector<Style> styles_of(const FlowSpec& spec, std::size_t stage) {
  const bool is_async = stage > 0 && stage < spec.sink() && spec.stages[stage - 1].is_async;
  if (!is_async) return {Style::returns_error, Style::throws, Style::throws_unknown};
  return {Style::throws, Style::throws_unknown, Style::completes_with_error, Style::completes_with_error_inside, Style::completes_with_error_twice, Style::completes_with_error_when_unwanted,
          Style::drops_completion, Style::drops_completion_later, Style::throws_after_giving_away, Style::throws_after_completing, Style::completes_inside, Style::completes_twice, Style::completes_when_unwanted};
}

/// Holds every answer until a script releases it, on the script's own thread; when the script is over, all go.
class HeldAnswers final : public Answers {
 public:
  explicit HeldAnswers(std::function<void(HeldAnswers&)> script) {
    thread_ = std::jthread([this, script = std::move(script)](const std::stop_token& stop) {
      stop_ = stop;
      script(*this);
      std::unique_lock lock(mutex_);
      while (changed_.wait(lock, stop, [&] { return !held_.empty(); })) release_first(lock);
      while (!held_.empty()) release_first(lock);
    });
  }
  void later(std::size_t stage, std::uint64_t n, std::function<void()> answer) override {
    {
      std::lock_guard lock(mutex_);
      held_.emplace(std::pair(stage, n), std::move(answer));
    }
    changed_.notify_one();
  }

  // For the script:

  /// For so many answers of a batch. False if the run is over without.
  bool wait_for(std::size_t stage, std::uint64_t n, std::size_t count = 1) {
    std::unique_lock lock(mutex_);
    return changed_.wait(lock, stop_, [&] { return held_.count(std::pair(stage, n)) >= count; });
  }
  /// For the calls of all batches below `end`.
  bool wait_for_all(std::size_t stage, std::uint64_t end) {
    for (std::uint64_t n = 0; n < end; ++n) {
      if (!wait_for(stage, n)) return false;
    }
    return true;
  }
  void release(std::size_t stage, std::uint64_t n) {
    if (!wait_for(stage, n)) return;
    std::unique_lock lock(mutex_);
    auto held = held_.extract(std::pair(stage, n));
    lock.unlock();
    held.mapped()();
  }

 private:
  void release_first(std::unique_lock<std::mutex>& lock) {
    auto held = held_.extract(held_.begin());
    lock.unlock();
    held.mapped()();
    held = {};
    lock.lock();
  }
  std::mutex mutex_;  // guards held_
  std::condition_variable_any changed_;
  std::multimap<std::pair<std::size_t, std::uint64_t>, std::function<void()>> held_;
  std::stop_token stop_;  // the thread's own
  std::jthread thread_;   // the last member: it ends first
};

}  // namespace

TEST_CASE("a failure in any kind of stage, in any way, cuts exactly there") {
  for (const auto& stages : {asynchronous_stages(), returning_stages(), off_policy_stages()}) {
    for (const std::size_t s : {0, 3}) {
      FlowSpec spec{.batches = 10, .stages = stages, .evaluate_every = 2, .sessions = 1, .depth = 4};
      const bool reads_the_student = spec.stages.size() > 3;
      if (reads_the_student) spec.staleness = s;
      else if (s > 0) continue;
      for (std::size_t stage = 0; stage <= spec.sink(); ++stage) {
        for (const auto style : styles_of(spec, stage)) {
          spec.faults = {{stage, 5, style}};
          expect_lawful(spec, [](const std::shared_ptr<Clock>&) { return std::make_unique<HastyAnswers>(Pick::random, 1); });
        }
      }
    }
  }
}

TEST_CASE("of several failures in one stage the lowest is reported, whatever the order in which they come") {
  FlowSpec spec{.batches = 30, .stages = off_policy_stages(), .depth = 6};
  constexpr std::size_t kTeacher = 1;
  spec.faults = {{kTeacher, 1, Style::completes_with_error_when_unwanted}, {kTeacher, 3, Style::completes_with_error_when_unwanted}, {kTeacher, 4, Style::completes_with_error_when_unwanted}};
  std::vector<std::uint64_t> order{0, 1, 2, 3, 4, 5};
  do {
    expect_lawful(spec, [&](const std::shared_ptr<Clock>&) {
      return std::make_unique<HeldAnswers>([order](HeldAnswers& held) {
        if (!held.wait_for_all(kTeacher, 6)) return;
        for (const auto n : order) held.release(kTeacher, n);
      });
    });
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("of failures in several stages the lowest batch's is reported, though a higher one's came long before") {
  FlowSpec spec{.batches = 30, .stages = off_policy_stages(), .depth = 6};
  constexpr std::size_t kTeacher = 1, kBuilder = 2, kTrainer = 3;
  spec.faults = {{kTeacher, 5, Style::completes_with_error}, {kBuilder, 4, Style::throws}, {kTrainer, 3, Style::completes_with_error}, {spec.sink(), 2, Style::returns_error}};
  while (!spec.faults.empty()) {  // and each time without the one that won
    expect_lawful(spec, [&](const std::shared_ptr<Clock>&) {
      return std::make_unique<HeldAnswers>([](HeldAnswers& held) {
        if (!held.wait_for_all(kTeacher, 6)) return;
        for (std::uint64_t n = 6; n-- > 0;) held.release(kTeacher, n);
      });
    });
    spec.faults.pop_back();
  }
}

TEST_CASE("after a failure the calls behind it are asked to stop, and run() waits for their answers") {
  FlowSpec spec{.batches = 30, .stages = off_policy_stages(), .depth = 6};
  constexpr std::size_t kTeacher = 1;
  spec.faults = {{kTeacher, 0, Style::completes_with_error}};
  for (const auto& e : test::executors()) {
    spec.executor = e.executor;
    spec.threads = e.threads;
    const auto what = to_text(spec);
    CAPTURE(what);
    const Watchdog watchdog([&] { return what; });
    std::promise<void> back;
    auto is_back = back.get_future();
    bool were_stopped = false, came_back_early = true;
    Outcome outcome;
    {
      HeldAnswers answers([&](HeldAnswers& held) {
        if (!held.wait_for_all(kTeacher, 6)) return;
        held.release(kTeacher, 0);
        // The batches of odd numbers answer a stop request later: that is their second answer, and the first one counts.
        were_stopped = held.wait_for(kTeacher, 1, 2) && held.wait_for(kTeacher, 3, 2) && held.wait_for(kTeacher, 5, 2);
        came_back_early = is_back.wait_for(std::chrono::milliseconds(20)) == std::future_status::ready;
      });
      outcome = run_lawfully(spec, answers, std::make_shared<SystemClock>(), [&] { back.set_value(); });
    }
    CHECK(were_stopped);
    CHECK_FALSE(came_back_early);
    CHECK_MESSAGE(outcome.broken.empty(), to_text(outcome.broken));
  }
}

TEST_CASE("sessions close once and in reverse, whichever of them or of the stages fails") {
  for (const std::size_t sessions : {1, 3}) {
    for (std::size_t session = 0; session < sessions; ++session) {
      for (const bool is_at_open : {false, true}) {
        for (const auto style : {Style::returns_error, Style::throws, Style::throws_unknown}) {
          for (const bool a_stage_fails : {false, true}) {
            FlowSpec spec{.batches = 6, .stages = off_policy_stages(), .sessions = sessions, .session_fault = SessionFault{session, is_at_open, style}};
            if (a_stage_fails) spec.faults = {{2, 3, Style::returns_error}};
            expect_lawful(spec, [](const std::shared_ptr<Clock>&) { return std::make_unique<HastyAnswers>(Pick::random, 1); });
          }
        }
      }
    }
  }
}
