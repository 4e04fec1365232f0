#pragma once
// The runs that the engine's scenario measures: batches 0, 1, ... n - 1 through a source, two stages that take them in any order, one that takes them in
// sequence, and a sink.
#include <cstddef>
#include <cstdint>
#include <string>

#include "graph/trace.hpp"

namespace pipestill::bench {

/// What one run does beside passing messages on.
enum class Shape {
  returning,     ///< every stage returns its result; off-policy
  feedback,      ///< the same, and the first stage takes a version that the in-sequence one issues; on-policy
  asynchronous,  ///< the first and the in-sequence stage complete through a callback, here at once
};
[[nodiscard]] std::string name_of(Shape shape);

struct EngineLoad {
  std::uint64_t batches = 200'000;
  std::size_t depth = 4, threads = 1;
};

/// In the engine, with `trace` where it is given. Throws std::logic_error if a batch is lost or the order is.
void run_engine(Shape shape, const EngineLoad& load, graph::Trace* trace = nullptr);

}  // namespace pipestill::bench
