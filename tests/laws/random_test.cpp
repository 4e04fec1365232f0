// Runs drawn from a seed. PIPESTILL_LAWS_SEED=n runs that one alone, PIPESTILL_LAWS_RUNS=n as many as that.
#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

#include "tests/laws/draw.hpp"
#include "tests/laws/rig.hpp"
#include "tests/laws/watchdog.hpp"

using namespace pipestill;
using namespace pipestill::laws;

namespace {

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text ? std::stoull(text) : otherwise;
}

void run_all(Drawn (*draw_one)(std::uint64_t), std::uint64_t runs) {
  const bool is_one = std::getenv("PIPESTILL_LAWS_SEED") != nullptr;
  const auto first = number_from("PIPESTILL_LAWS_SEED", 0);
  const auto end = is_one ? first + 1 : number_from("PIPESTILL_LAWS_RUNS", runs);
  for (auto seed = first; seed < end; ++seed) {
    const auto drawn = draw_one(seed);
    const auto what = "PIPESTILL_LAWS_SEED=" + std::to_string(seed) + ": " + to_text(drawn.spec);
    const Watchdog watchdog([&] { return what; });
    std::shared_ptr<Clock> clock;
    if (drawn.spec.is_simulated) clock = std::make_shared<SimulatedClock>();
    else clock = std::make_shared<SystemClock>();
    const auto answers = answers_of(drawn, clock);
    const auto outcome = run_lawfully(drawn.spec, *answers, clock);
    CHECK_MESSAGE(outcome.broken.empty(), what, to_text(outcome.broken));
    if (is_one) MESSAGE(what, "cut ", outcome.report.cut.value, " of ", outcome.report.admitted);
  }
}

}  // namespace

TEST_CASE("random runs with faults and stops come out as the sequential model says") { run_all(draw, 1000); }

TEST_CASE("a stop at a random moment loses nothing, trains nothing behind the cut, and closes what was opened") { run_all(draw_stopped, 400); }
