#pragma once
// draw(): a whole run out of one seed.
#include <cstdint>
#include <memory>

#include "tests/laws/answers.hpp"
#include "tests/laws/spec.hpp"

namespace pipestill::laws {

struct Drawn {
  FlowSpec spec;
  std::uint64_t seed = 0;
  int answers = 0;  // which of them, see answers_of
};

/// Topology, limits, depth, threads, executor, latencies, faults of all kinds, sessions, and a stop in some of the runs.
[[nodiscard]] Drawn draw(std::uint64_t seed);
/// As draw(), with a stop in every run and with no fault.
[[nodiscard]] Drawn draw_stopped(std::uint64_t seed);
[[nodiscard]] std::unique_ptr<Answers> answers_of(const Drawn& drawn, const std::shared_ptr<Clock>& clock);

}  // namespace pipestill::laws
