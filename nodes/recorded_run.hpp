#pragma once
// record_run(): distil() into a run directory.
#include <filesystem>
#include <functional>
#include <memory>

#include "graph/base/error.hpp"
#include "nodes/distillation.hpp"

namespace pipestill {

struct RecordedRunOptions {
  std::filesystem::path directory;                        ///< new or empty
  std::shared_ptr<Telemetry> telemetry = nullptr;         ///< beside the directory's own files; may be null
  std::function<void(const RunPlan&)> on_plan = nullptr;  ///< once, before anything is opened
  std::function<void(const DatasetProgress&)> on_dataset_progress = nullptr;  ///< while a dataset is opened for the first time
  DistillationOptions distillation = {};                  ///< model_directory is set here
  std::shared_ptr<Clock> clock = nullptr;                 ///< null: a SystemClock of the run's own
};

/// Opens the recipe's ports, runs, and leaves a run directory behind; its summary.json is written last, its recipe.json first, with
/// the datasets' fingerprints: run again, it refuses data that has changed since. Every batch is in its ledger before it is in metrics.jsonl.
/// What is wrong before the first step by the user's input is an Error, and leaves no directory; everything later is in the summary.
[[nodiscard]] Result<RunSummary> record_run(const Recipe& recipe, const RecordedRunOptions& options);

}  // namespace pipestill
