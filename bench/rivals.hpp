#pragma once
// What the engine is measured against: the same stages, connected by hand. Each passes numbers 0, 1, ... n - 1 through a source, two stages that take
// batches in any order, one that takes them in sequence, and a sink that throws std::logic_error at the first number that is not the next one.
#include <cstddef>
#include <cstdint>
#include <string>

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

/// A oneTBB flow graph as one writes it who knows its pitfalls: credits round a cycle, a sequencer, serial nodes that emit inside their bodies;
/// for `feedback` a reserving join with the versions; for `asynchronous` async_nodes.
void run_hand_written_graph(Shape shape, const EngineLoad& load);
/// tbb::parallel_pipeline with `depth` tokens. It has no callback and no feedback value: `returning` only.
void run_parallel_pipeline(const EngineLoad& load);
/// One thread a stage, and queues of `depth` places between them: `returning` only, whatever `threads` says.
void run_plain_threads(const EngineLoad& load);

}  // namespace pipestill::bench
