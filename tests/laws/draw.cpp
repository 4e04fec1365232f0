#include "tests/laws/draw.hpp"

#include <pcg_random.hpp>
#include <utility>
#include <vector>

namespace pipestill::laws {
namespace {

using Part = StageSpec::Part;

class Draw {
 public:
  explicit Draw(std::uint64_t seed) : random_(seed) { drawn_.seed = seed; }

  Drawn faulty() {
    flow();
    if (is(40)) stop();
    if (is(75)) faults();
    sessions();
    return std::move(drawn_);
  }
  Drawn stopped() {
    flow();
    stop();
    hangs();
    return std::move(drawn_);
  }

 private:
  std::size_t upto(std::size_t most) { return random_(static_cast<std::uint32_t>(most) + 1); }
  bool is(unsigned percent) { return random_(100u) < percent; }
  template <class T>
  const T& one_of(const std::vector<T>& values) { return values[upto(values.size() - 1)]; }

  void flow() {
    auto& spec = drawn_.spec;
    spec.batches = is(10) ? upto(2) : upto(40);
    spec.depth = 1 + upto(7);
    spec.threads = one_of<std::size_t>({1, 2, 4});
#ifdef PIPESTILL_WITH_TBB
    if (is(60)) spec.executor = graph::Executor::flow_graph;
#endif
    spec.is_simulated = spec.executor == graph::Executor::small && spec.threads == 1 && is(50);
    spec.is_watched = is(25);
    const auto kind = upto(9);  // 0: nothing trains but the sink; 1, 2: off-policy; the rest: on-policy
    stages(Part::plain, upto(2));
    if (kind > 2) {
      spec.staleness = upto(4);
      stage(Part::reads);
      stages(Part::plain, upto(2));
    }
    if (kind > 0) {
      stage(Part::trains);
      if (is(50)) stage(Part::observes);
      stages(Part::plain, upto(1));
    }
    spec.evaluate_every = upto(3);
    drawn_.answers = static_cast<int>(upto(spec.is_simulated ? 5 : 4));
  }
  void stages(Part part, std::size_t count) {
    for (; count > 0; --count) stage(part);
  }
  void stage(Part part) {
    StageSpec stage{.name = {}, .part = part, .is_in_sequence = part == Part::trains || is(40), .is_async = is(65), .limit = 1 + upto(5)};
    if (part == Part::trains || (stage.is_in_sequence && !stage.is_async)) stage.limit = 1;
    const char* names[] = {"plain", "reading", "training", "observing"};
    stage.name = names[static_cast<int>(part)] + std::string("_") + std::to_string(drawn_.spec.stages.size() + 1);
    drawn_.spec.stages.push_back(std::move(stage));
  }

  void fault(std::size_t stage, std::uint64_t at, Style style) {
    if (!drawn_.spec.fault(stage, at)) drawn_.spec.faults.push_back({stage, at, style});
  }
  void faults() {
    auto& spec = drawn_.spec;
    if (spec.batches == 0) return;
    for (auto count = 1 + upto(4); count > 0; --count) {
      const auto stage = upto(spec.sink());
      const bool is_async = stage > 0 && stage < spec.sink() && spec.stages[stage - 1].is_async;
      const auto style = is_async ? one_of<Style>({Style::throws, Style::throws_unknown, Style::completes_with_error, Style::completes_with_error_inside, Style::completes_with_error_twice,
                                                   Style::completes_with_error_when_unwanted, Style::drops_completion, Style::drops_completion_later, Style::throws_after_giving_away, Style::throws_after_completing,
                                                   Style::completes_inside, Style::completes_twice, Style::completes_when_unwanted})
                                  : one_of<Style>({Style::returns_error, Style::throws, Style::throws_unknown});
      fault(stage, upto(spec.batches - 1), style);
    }
    hangs();
  }
  /// Only where a stop comes for certain, and not from the moment on when a batch is waited for.
  void hangs() {
    auto& spec = drawn_.spec;
    if (!spec.stop || spec.stop->at_entry || spec.stop->grace > std::chrono::milliseconds(10) || spec.batches == 0 || is(50)) return;
    const auto stage = 1 + upto(spec.sink() - 1);
    if (stage < spec.trainer() && spec.stages[stage - 1].is_async) fault(stage, upto(spec.batches - 1), Style::hangs);
  }

  void stop() {
    auto& spec = drawn_.spec;
    const auto microseconds = [&](std::size_t most) { return std::chrono::microseconds(upto(most)); };
    StopSpec stop{.kind = one_of<StopSpec::Kind>({StopSpec::Kind::stop, StopSpec::Kind::stop_now, StopSpec::Kind::stop_then_stop_now})};
    stop.grace = is(30) ? std::chrono::nanoseconds(0) : is(50) ? std::chrono::nanoseconds(microseconds(1000)) : std::chrono::nanoseconds(std::chrono::hours(1));
    if (is(50) && spec.batches > 0) stop.at_entry = {upto(spec.sink()), upto(spec.batches - 1)};
    stop.delay = microseconds(is(50) ? 300 : 3000);
    stop.second_delay = microseconds(500);
    spec.stop = stop;
  }

  void sessions() {
    auto& spec = drawn_.spec;
    spec.sessions = upto(2);
    if (spec.sessions > 0 && is(15)) {
      spec.session_fault = {.session = upto(spec.sessions - 1), .is_at_open = is(50), .style = one_of<Style>({Style::returns_error, Style::throws, Style::throws_unknown})};
    }
  }

  pcg32 random_;
  Drawn drawn_;
};

}  // namespace

Drawn draw(std::uint64_t seed) { return Draw(seed).faulty(); }
Drawn draw_stopped(std::uint64_t seed) { return Draw(seed).stopped(); }

std::unique_ptr<Answers> answers_of(const Drawn& drawn, const std::shared_ptr<Clock>& clock) {
  const auto seed = drawn.seed;
  const auto draw_us = [seed](std::size_t stage, std::uint64_t n, unsigned most) { return std::chrono::microseconds(pcg32(seed * 16 + stage, n)(most)); };
  switch (drawn.answers) {
    case 0: return std::make_unique<HastyAnswers>(Pick::newest, seed);
    case 1: return std::make_unique<HastyAnswers>(Pick::random, seed);
    case 2: return std::make_unique<HastyAnswers>(Pick::oldest, seed);
    case 3: return std::make_unique<TimedAnswers>(clock, [=](std::size_t stage, std::uint64_t n) { return draw_us(stage, n, 150); });
    case 4:  // stragglers
      return std::make_unique<TimedAnswers>(clock, [=](std::size_t stage, std::uint64_t n) { return draw_us(stage, n, 8) == std::chrono::microseconds(0) ? std::chrono::microseconds(1500) : draw_us(stage, n, 40); });
    default:  // on a simulated clock: of what is outstanding, the newest batch first
      return std::make_unique<TimedAnswers>(clock, [clock](std::size_t, std::uint64_t n) { return std::chrono::hours(1) - std::chrono::milliseconds(n) - clock->now(); });
  }
}

}  // namespace pipestill::laws
