#pragma once
// What the engine is measured against: the same stages, connected by hand. Each passes numbers 0, 1, ... n - 1 through a source, two stages that take
// batches in any order, one that takes them in sequence, and a sink that throws std::logic_error at the first number that is not the next one.
#include "bench/engine_runs.hpp"

namespace pipestill::bench {

/// A oneTBB flow graph as one writes it who knows its pitfalls: credits round a cycle, a sequencer, serial nodes that emit inside their bodies;
/// for `feedback` a reserving join with the versions; for `asynchronous` async_nodes.
void run_hand_written_graph(Shape shape, const EngineLoad& load);
/// tbb::parallel_pipeline with `depth` tokens. It has no callback and no feedback value: `returning` only.
void run_parallel_pipeline(const EngineLoad& load);
/// One thread a stage, and queues of `depth` places between them: `returning` only, whatever `threads` says.
void run_plain_threads(const EngineLoad& load);

}  // namespace pipestill::bench
