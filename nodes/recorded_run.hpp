#pragma once
// record_run(): distil() into a run directory.
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "graph/base/error.hpp"
#include "nodes/distillation.hpp"
#include "nodes/run_directory.hpp"

namespace pipestill {

struct RecordedRunOptions {
  std::filesystem::path directory;                        ///< of record_run: new or empty
  std::filesystem::path replayed = {};                    ///< a run whose recorded answers are the only ones: no teacher is opened; empty: none
  std::shared_ptr<Telemetry> telemetry = nullptr;         ///< beside the directory's own files; may be null
  std::function<void(const RunPlan&)> on_plan = nullptr;  ///< once, before anything is opened
  std::function<void(const DatasetProgress&)> on_dataset_progress = nullptr;  ///< while a dataset is opened for the first time
  std::function<void(const std::string&)> on_notice = nullptr;  ///< of resume_run, in sentences: where it goes on, and what it passes over
  DistillationOptions distillation = {};                  ///< model_directory, ledger, checkpoints and resume are set here
  std::shared_ptr<Clock> clock = nullptr;                 ///< null: a SystemClock of the run's own
};

/// Opens the recipe's ports, runs, and leaves a run directory behind; its summary.json is written last, its recipe.json first, with
/// the datasets' fingerprints: run again, it refuses data that has changed since. Every batch is in its ledger before it is in metrics.jsonl.
/// What is wrong before the first step by the user's input is an Error, and leaves no directory; everything later is in the summary.
[[nodiscard]] Result<RunSummary> record_run(const Recipe& recipe, const RecordedRunOptions& options);

/// Those of the datasets in a recorded recipe. A new run is held to them (plan_run); of one that goes on identity.json says which data it had (resume_run).
enum class Fingerprints { kept, forgotten };

/// The recipe of a run that has begun, overridden; relative paths start where they did then. ErrorCode::invalid_input where the run was killed before it had
/// written down where that is: its recipe must then be given again.
[[nodiscard]] Result<Recipe> recorded_recipe(const std::filesystem::path& run, std::span<const Override> overrides, Fingerprints fingerprints);

/// Goes on with a run that was stopped, failed or was killed, whenever that was, as if nothing had happened: from the newest checkpoint that is whole, else
/// from the beginning. Batches that the ledger has from there on are computed again and must come to the same; metrics.jsonl and evaluations.jsonl are cut
/// back. `recipe` is the run's, recorded or given again: it must have the identity that the run began with, its data and its machine too, but for the keys that
/// `allowed_changes` names; what was changed so is among the summary's reasons from then on.
/// What is wrong before the first step by the user's input is an Error, and the run can go on afterwards as before.
[[nodiscard]] Result<RunSummary> resume_run(RunDirectory directory, const Recipe& recipe, std::span<const std::string> allowed_changes, const RecordedRunOptions& options);

}  // namespace pipestill
