#pragma once
// distil(): a recipe and its ports, from the first batch to the student's final weights.
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "graph/engine.hpp"
#include "nodes/batch_source.hpp"
#include "nodes/evaluation.hpp"
#include "nodes/messages.hpp"
#include "nodes/recipe.hpp"
#include "nodes/run_summary.hpp"
#include "nodes/run_totals.hpp"
#include "ports/checkpoint/checkpoint_store.hpp"
#include "ports/checkpoint/ledger.hpp"
#include "ports/dataset/dataset_options.hpp"
#include "ports/dataset/dataset_store.hpp"
#include "ports/renderer/renderer.hpp"
#include "ports/sampling/sampling_client.hpp"
#include "ports/sampling/stored_sampling_client.hpp"
#include "ports/telemetry/telemetry.hpp"
#include "ports/tokenizer/tokenizer.hpp"
#include "ports/training/training_client.hpp"

namespace pipestill {

/// What a run needs from outside: the recipe's own adapters (make_ports), or a program's.
struct DistillationPorts {
  std::shared_ptr<SamplingClient> teacher = nullptr;  ///< not in supervised; the first of Recipe::teachers()
  std::shared_ptr<TrainingClient> student = nullptr;
  std::shared_ptr<DatasetStore> dataset = nullptr;     ///< the only one, or the first of a mix
  std::shared_ptr<DatasetStore> evaluation = nullptr;  ///< null: nothing is evaluated
  std::shared_ptr<const Tokenizer> tokenizer = nullptr;
  std::shared_ptr<const Renderer> renderer = nullptr;  ///< the student's
  std::shared_ptr<Telemetry> telemetry = nullptr;  ///< null: nobody listens
  std::shared_ptr<Clock> clock = nullptr;          ///< null: a SystemClock of the run's own
  std::vector<std::shared_ptr<DatasetStore>> mixed = {};  ///< the others of a mix, as in Recipe::mixed
  std::vector<std::shared_ptr<SamplingClient>> more_teachers = {};       ///< the others of Recipe::teachers()
  std::vector<std::shared_ptr<const Renderer>> dataset_renderers = {};  ///< by dataset, for those with their own; null, or none there: `renderer`
  /// Where a student's samples are kept before they are used; asked once, and only in on_policy of a student whose snapshots do not repeat themselves. Null: they are not kept.
  std::function<Result<std::shared_ptr<const StudentSampleStore>>()> student_samples = nullptr;
  FailedRows failed_rows = {};  ///< of a run that is replayed; those of a run that goes on are in its ledger
  std::shared_ptr<Ledger> ledger = nullptr;  ///< at the run's first step, and nobody else's meanwhile; null: none is kept
};

/// Where a run goes on that was cut before.
struct ResumePoint {
  SavedCheckpoint checkpoint;
  RunTotals totals = {};  ///< of the batches before it
};

struct DistillationOptions {
  std::stop_token stop = {};      ///< a request closes the source; batches in flight get engine.stop_grace to finish
  std::stop_token stop_now = {};  ///< a request makes the cut at once
  graph::Executor executor = graph::Executor::flow_graph;
  std::shared_ptr<graph::Monitor> monitor = nullptr;
  std::function<void(const StepResult&)> on_step = nullptr;  ///< in the batches' order, one at a time, on a thread of the engine
  std::function<void(const EvaluationRecord&)> on_evaluation = nullptr;  ///< one at a time, from any thread
  std::function<void(const graph::Stall&)> on_stall = nullptr;           ///< nothing has moved for a minute, two, four, ...; from any thread. Null: nobody watches
  std::optional<CheckpointStore> checkpoints = std::nullopt;  ///< where the student is saved every checkpoint.every batches, and where the run is cut; empty: nowhere
  std::optional<ResumePoint> resume = std::nullopt;           ///< empty: the run begins at its first batch
  /// Called when all models are open, before anything is computed: what equal bytes depend on, by name. An error ends the run.
  std::function<Result<void>(const std::map<std::string, std::string>&)> check_identity = nullptr;
  std::filesystem::path model_directory = {};                            ///< where the final weights and the tokenizer go; empty: nowhere
};

/// Blocks until the run is over; several may go on at once. What goes wrong is in the summary: it does not throw unless memory runs out or
/// a port does. In this order: the recipe is checked against what the models can do; teacher and student are opened; the student is
/// evaluated; the flow runs; the student is evaluated again; its weights are digested and written; student and teacher are closed, whatever
/// happened after their opening. A run that was stopped is not evaluated again, but keeps its weights: those of the batches before the cut.
/// One that failed writes no model. Where there are checkpoints, a run that is cut, by a stop or a failure, leaves one whose step is the cut, unless the student
/// has met more batches by then (a stage behind training failed); the one before is then the last.
/// A run that goes on at a ResumePoint loads the student from there, is not evaluated before, and does otherwise what the whole run would have done from there.
[[nodiscard]] RunSummary distil(const Recipe& recipe, const DistillationPorts& ports, const DistillationOptions& options = {});

/// Whether teachers are asked; of those that are not (recorded answers take their place) no answer store is opened.
enum class Teachers { asked, replaced };
/// The adapters that the recipe names. Opens files, but no model. `clock` and `telemetry` are passed on as they are. A large dataset that is
/// opened for the first time takes a while: `on_dataset_progress`, if it is there, hears how far it is.
[[nodiscard]] Result<DistillationPorts> make_ports(const Recipe& recipe, std::shared_ptr<Clock> clock,
                                                   std::shared_ptr<Telemetry> telemetry,
                                                   const std::function<void(const DatasetProgress&)>& on_dataset_progress = nullptr,
                                                   Teachers teachers = Teachers::asked);

/// What a store is opened with that keeps the answers of those teachers that `keeps` says: Durability::power where one of them asks for it.
[[nodiscard]] Durability strictest_durability(const std::vector<Recipe::Teacher>& teachers, const std::function<bool(const Recipe::Teacher&)>& keeps);

/// The teacher's name in RunSummary::identity: "teacher", "teacher.1", ...
[[nodiscard]] std::string numbered_teacher(std::size_t number);

/// The flow of this recipe as text, one line a stage, with its models' opening and closing. Costs nothing.
[[nodiscard]] std::string describe_flow(const Recipe& recipe);
/// The same as a picture, in the DOT language of Graphviz.
[[nodiscard]] std::string draw_flow(const Recipe& recipe);

/// Whether the models can do what the recipe asks, whether the datasets are those that it means (dataset.fingerprint), and how many batches the run has. Costs nothing; distil() asks the same first.
struct RunPlan {
  struct Dataset {
    std::uint64_t rows = 0;
    std::string fingerprint;
  };
  std::uint64_t rows = 0, batches_per_epoch = 0, total_steps = 0;  ///< rows: of the only dataset, or of a mix's first
  std::vector<std::string> nondeterminism = {};  ///< why two runs may differ, as far as the clients say
  std::vector<Dataset> datasets = {};            ///< as in Recipe::datasets()
};
[[nodiscard]] Result<RunPlan> plan_run(const Recipe& recipe, const DistillationPorts& ports);
/// Whether the checkpoint holds the older students that the batches behind it are sampled with. Costs nothing.
[[nodiscard]] Result<void> check_versions(const Recipe& recipe, const SavedCheckpoint& checkpoint);
/// What of RunSummary::identity the run computes from: fingerprints of datasets (`dataset`, `dataset.1`, ...) and `tokenizer`, and what tells the models from others (`teacher`,
/// `teacher.1`, ..., `student`). Opens no model, but may read its files.
[[nodiscard]] Result<std::map<std::string, std::string>> data_identity(const Recipe& recipe, const DistillationPorts& ports, const RunPlan& plan);
/// Whether a fact of RunSummary::identity is one of those; the others are of machine and libraries.
[[nodiscard]] bool is_of_data(std::string_view fact);

}  // namespace pipestill
