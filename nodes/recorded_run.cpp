#include "nodes/recorded_run.hpp"

#include <boost/json/serialize.hpp>
#include <mutex>
#include <utility>
#include <vector>

#include "nodes/run_directory.hpp"
#include "ports/telemetry/chrome_trace.hpp"
#include "ports/telemetry/jsonl_telemetry.hpp"
#include "ports/telemetry/output_file.hpp"
#include "ports/telemetry/telemetry_fanout.hpp"

namespace json = boost::json;

namespace pipestill {
namespace {

const char* name_of(EvaluationRecord::When when) {
  switch (when) {
    case EvaluationRecord::When::before: return "before";
    case EvaluationRecord::When::during: return "during";
    case EvaluationRecord::When::after: return "after";
  }
  return "?";
}

/// The files that grow during the run.
class RunFiles {
 public:
  static Result<std::unique_ptr<RunFiles>> open(const RunDirectory& directory, const std::shared_ptr<Clock>& clock, bool has_trace, bool has_evaluations) {
    auto metrics = JsonlTelemetry::open(directory.metrics(), OutputFile::Mode::truncate);
    if (!metrics) return fail(std::move(metrics.error()));
    auto files = std::unique_ptr<RunFiles>(new RunFiles(*std::move(metrics)));
    if (has_trace) {
      auto trace = ChromeTrace::open(directory.trace(), clock);
      if (!trace) return fail(std::move(trace.error()));
      files->trace_ = *std::move(trace);
    }
    if (has_evaluations) {
      auto evaluations = OutputFile::open(directory.evaluations(), OutputFile::Mode::truncate);
      if (!evaluations) return fail(std::move(evaluations.error()));
      files->evaluations_.emplace(*std::move(evaluations));
    }
    return files;
  }

  [[nodiscard]] std::vector<std::shared_ptr<Telemetry>> sinks() const {
    std::vector<std::shared_ptr<Telemetry>> sinks{metrics_};
    if (trace_) sinks.push_back(trace_);
    return sinks;
  }
  void write(const EvaluationRecord& record) {
    json::object line{{"when", name_of(record.when)}, {"step", record.step}, {"rows", record.result.rows}};
    for (const auto& [name, value] : record.result.metrics) line[name] = value;
    std::lock_guard lock(mutex_);
    if (evaluations_) evaluations_->write(json::serialize(line) + "\n");
  }
  [[nodiscard]] Result<void> close() {
    auto result = metrics_->close();
    if (trace_) {
      if (auto closed = trace_->close(); !closed && result) result = std::move(closed);
    }
    std::lock_guard lock(mutex_);
    if (evaluations_) {
      if (auto closed = evaluations_->close(); !closed && result) result = std::move(closed);
    }
    return result;
  }

 private:
  explicit RunFiles(std::unique_ptr<JsonlTelemetry> metrics) : metrics_(std::move(metrics)) {}
  std::shared_ptr<JsonlTelemetry> metrics_;
  std::shared_ptr<ChromeTrace> trace_;
  std::mutex mutex_;  // guards evaluations_
  std::optional<OutputFile> evaluations_;
};

/// So that the recipe of a run, run again, means the same data or nothing.
json::object with_fingerprints(json::object resolved, const RunPlan& plan) {
  auto& section = resolved["dataset"];
  for (std::size_t i = 0; i < plan.datasets.size(); ++i) {
    auto& one = section.is_array() ? section.get_array().at(i) : section;
    one.as_object()["fingerprint"] = plan.datasets[i].fingerprint;
  }
  return resolved;
}

bool never_began(const RunSummary& summary) {
  return summary.failure && summary.failure->error.code == ErrorCode::invalid_input && summary.totals.steps == 0;
}

}  // namespace

Result<RunSummary> record_run(const Recipe& recipe, const RecordedRunOptions& options) {
  const auto clock = options.clock ? options.clock : std::make_shared<SystemClock>();
  auto ports = make_ports(recipe, clock, nullptr, options.on_dataset_progress);
  if (!ports) return fail(std::move(ports.error()));
  const auto plan = plan_run(recipe, *ports);
  if (!plan) return fail(plan.error());
  if (options.on_plan) options.on_plan(*plan);

  auto directory = RunDirectory::create(options.directory);
  if (!directory) return fail(std::move(directory.error()));
  const auto refuse = [&](Error error) {
    ports->ledger.reset();  // before its file goes
    directory->discard();
    return fail(std::move(error));
  };
  if (auto written = directory->write_recipe(with_fingerprints(recipe.resolved, *plan)); !written) return refuse(std::move(written.error()));
  auto ledger = Ledger::create(directory->ledger(), {.recipe_directory = std::filesystem::absolute(recipe.directory)});
  if (!ledger) return refuse(std::move(ledger.error()));
  ports->ledger = *std::move(ledger);
  auto files = RunFiles::open(*directory, clock, recipe.telemetry.trace, recipe.evaluation.has_value());
  if (!files) return refuse(std::move(files.error()));

  auto sinks = (*files)->sinks();
  if (options.telemetry) sinks.push_back(options.telemetry);
  ports->telemetry = std::make_shared<TelemetryFanout>(std::move(sinks));
  auto distillation = options.distillation;
  distillation.model_directory = directory->model();
  distillation.on_evaluation = [&, next = options.distillation.on_evaluation](const EvaluationRecord& record) {
    (*files)->write(record);
    if (next) next(record);
  };
  auto summary = distil(recipe, *ports, distillation);
  if (never_began(summary)) return refuse(std::move(summary.failure->error));
  const auto settle = [&summary](Result<void> done) {
    if (done || summary.failure) return;
    summary.status = RunSummary::Status::failed;
    summary.failure = RunSummary::Failure{"run_directory", std::nullopt, std::move(done.error())};
  };
  settle((*files)->close());
  settle(ports->ledger->close());
  settle(directory->write_summary(summary.to_json()));
  return summary;
}

}  // namespace pipestill
