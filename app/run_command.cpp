// pipestill run: distils.
#include <boost/json/serialize.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <spdlog/fmt/chrono.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include "app/commands.hpp"
#include "app/exit_status.hpp"
#include "app/progress.hpp"
#include "app/recipe_arguments.hpp"
#include "app/run_table.hpp"
#include "app/signals.hpp"
#include "nodes/recorded_run.hpp"
#include "nodes/run_directory.hpp"
#include "nodes/run_identity.hpp"
#include "ports/telemetry/spdlog_telemetry.hpp"

namespace pipestill::app {
namespace {

constexpr std::uint64_t kMostSkipped = 5;  // bad rows that are told one by one

struct RunArguments {
  RecipeArguments recipe;
  std::string out;
  std::string replay;
  bool resume = false;
  std::vector<std::string> allowed_changes;
  bool no_progress = false, json = false, verbose = false;
};

std::filesystem::path default_directory(const std::string& recipe) {
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  return std::filesystem::path("runs") / fmt::format("{}-{:%Y%m%dT%H%M%SZ}", std::filesystem::path(recipe).stem().string(), now);
}

std::shared_ptr<spdlog::logger> make_logger(bool is_verbose) {
  auto logger = std::make_shared<spdlog::logger>("pipestill", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger->set_pattern("%H:%M:%S %v");
  logger->set_level(is_verbose ? spdlog::level::debug : spdlog::level::info);
  return logger;
}

/// What is to be done, as far as the arguments and the directory say.
struct Task {
  std::optional<RunDirectory> resumed = {};  ///< a run that has begun; empty: a new one
  std::optional<boost::json::object> finished = {};  ///< its summary, if nothing is left to do
  std::filesystem::path directory;
  std::optional<Recipe> recipe = {};  ///< there unless the run has finished
};

/// A run that has finished does not go on with another recipe.
Result<void> check_same(const RunArguments& arguments, const std::filesystem::path& finished) {
  const auto overrides = arguments.recipe.overrides();
  if (!overrides) return fail(overrides.error());
  if (arguments.recipe.recipe.empty() && overrides->empty()) return {};
  const auto recorded = recorded_recipe(finished, {}, Fingerprints::forgotten);
  if (!recorded) return fail(recorded.error());
  const auto asked = arguments.recipe.recipe.empty() ? recorded_recipe(finished, *overrides, Fingerprints::forgotten) : arguments.recipe.read();
  if (!asked) return fail(asked.error());
  const auto changes = differences(recorded->identity_keys(), asked->identity_keys());
  if (changes.empty()) return {};
  return fail(ErrorCode::invalid_input, fmt::format("{} has finished with {} {}, and stays as it is: for {} name another directory for --out", finished.string(), changes.front().name,
                                                    changes.front().before, changes.front().now));
}

Result<Task> find_task(const RunArguments& arguments) {
  if (!arguments.resume && !arguments.allowed_changes.empty()) return fail(ErrorCode::invalid_input, "--allow-changed belongs to --resume: a new run has nothing to differ from");
  if (arguments.resume && arguments.out.empty()) return fail(ErrorCode::invalid_input, "--resume needs --out: the directory of the run that is to go on");
  if (!arguments.replay.empty() && !RunDirectory::has_begun(arguments.replay)) {
    return fail(ErrorCode::invalid_input, arguments.replay + " holds no run that could be replayed: name a run directory, as `pipestill run --out` makes it");
  }
  Task task{.directory = arguments.out.empty() ? default_directory(arguments.recipe.recipe.empty() ? "replay" : arguments.recipe.recipe) : std::filesystem::path(arguments.out)};
  // One that was killed before it had begun begins now, if the recipe is given again: the same command, whenever it ended.
  const bool is_given = !arguments.recipe.recipe.empty();
  if (arguments.resume && (RunDirectory::has_begun(task.directory) || !is_given)) {
    auto opened = RunDirectory::open(task.directory);
    if (!opened) return fail(std::move(opened.error()));
    auto finished = opened->finished_summary();
    if (!finished) return fail(std::move(finished.error()));
    task.finished = *std::move(finished);
    task.resumed = *std::move(opened);
    if (task.finished) {
      if (auto same = check_same(arguments, task.directory); !same) return fail(std::move(same.error()));
      return task;
    }
  }
  if (!is_given && !task.resumed && arguments.replay.empty()) return fail(ErrorCode::invalid_input, "RECIPE is missing: a recipe file; it may be left out where --resume --out DIR names a run that has begun");
  const auto overrides = arguments.recipe.overrides();
  if (!overrides) return fail(overrides.error());
  auto recipe = is_given ? arguments.recipe.read() : task.resumed ? recorded_recipe(task.directory, *overrides, Fingerprints::forgotten) : recorded_recipe(arguments.replay, *overrides, Fingerprints::kept);
  if (!recipe) return fail(std::move(recipe.error()));
  task.recipe = *std::move(recipe);
  return task;
}

int run_run(const RunArguments& arguments) {
  const SignalStops signals;  // before any other thread
  auto task = find_task(arguments);
  if (!task) return report(task.error());
  if (task->finished) {
    if (arguments.json) std::puts(boost::json::serialize(*task->finished).c_str());
    else std::printf("%s has finished: there is nothing left to do\n", task->directory.c_str());
    return kDone;
  }
  const auto& recipe = task->recipe;
  const auto& directory = task->directory;

  const auto logger = make_logger(arguments.verbose);
  const auto monitor = std::make_shared<graph::Monitor>();
  std::uint64_t skipped = 0;  // written by one stage alone, one batch at a time
  auto summary = [&] {
    Progress progress(monitor, !arguments.no_progress && !arguments.verbose);
    RecordedRunOptions options{.directory = directory, .replayed = arguments.replay};
    if (!progress.is_live()) options.telemetry = std::make_shared<SpdlogTelemetry>(logger, recipe->telemetry.log_every);
    options.on_plan = [&](const RunPlan& plan) { progress.set_total(plan.total_steps); };
    options.distillation.stop = signals.stop();
    options.distillation.stop_now = signals.stop_now();
    options.distillation.monitor = monitor;
    options.on_dataset_progress = [&](const DatasetProgress& read) {
      if (!progress.is_live() || read.bytes == read.total_bytes) return;
      const auto share = read.total_bytes > 0 ? fmt::format(" ({:.0f} %)", 100 * static_cast<double>(read.bytes) / static_cast<double>(read.total_bytes)) : "";
      progress.say(fmt::format("reading the dataset for the first time: {} rows, {} MiB{}", read.rows, read.bytes >> 20, share));
    };
    options.distillation.on_step = [&](const StepResult& step) {
      progress.on_step(step);
      for (const auto& row : step.rows) {
        if (row.dropped == DropReason::bad && skipped++ < kMostSkipped) progress.say("skipped " + row.why_bad);
      }
    };
    options.distillation.on_stall = [&](const graph::Stall& stall) { progress.say("pipestill: " + to_text(stall)); };
    options.distillation.on_evaluation = [&](const EvaluationRecord& record) {
      progress.on_evaluation(record);
      if (progress.is_live()) return;
      for (const auto& [name, value] : record.result.metrics) logger->info("evaluation after {} steps: {} {:.1f} %", record.step, name, 100 * value);
    };
    options.on_notice = [&](const std::string& text) { progress.say(text); };
    return task->resumed ? resume_run(*std::move(task->resumed), *recipe, arguments.allowed_changes, options) : record_run(*recipe, options);
  }();
  if (!summary) return report(summary.error());

  if (arguments.json) std::puts(boost::json::serialize(summary->to_json()).c_str());
  else std::printf("%s%-20s%s\n", to_table(*summary).c_str(), "run directory", directory.c_str());
  if (skipped > kMostSkipped) std::fprintf(stderr, "skipped %llu rows in all (dataset.on_bad_row); see dropped.bad in metrics.jsonl\n", static_cast<unsigned long long>(skipped));
  for (const auto& failure : summary->close_failures) std::fprintf(stderr, "pipestill: %s: %s\n", failure.stage.c_str(), failure.error.message.c_str());
  if (summary->failure) {
    const auto& failure = *summary->failure;
    const auto where = failure.seq ? failure.stage + ", batch " + std::to_string(failure.seq->value) : failure.stage;
    return report({failure.error.code == ErrorCode::cancelled ? ErrorCode::internal : failure.error.code, where + ": " + failure.error.message});
  }
  return summary->status == RunSummary::Status::stopped ? kStopped : kDone;
}

}  // namespace

void add_run(CLI::App& program, Action& action) {
  const auto arguments = std::make_shared<RunArguments>();
  auto& command = *program.add_subcommand("run", "Distil as a recipe says, into a run directory");
  arguments->recipe.add_to(command, RecipeArguments::Need::optional);
  command.add_option("--out", arguments->out, "The run directory, new or empty (default: runs/<recipe>-<UTC time>)");
  command.add_flag("--resume", arguments->resume, "Go on with the run in --out from its newest checkpoint, to the same bytes; RECIPE may be left out");
  command.add_option("--replay", arguments->replay, "A new run over the answers that the run in this directory kept (teacher.teacher_store): no teacher is opened; RECIPE may be left out");
  command.add_option("--allow-changed", arguments->allowed_changes, "With --resume: KEY may differ from when the run began (a recipe key, or one of identity.json); may be given more than once")
      ->expected(1)
      ->allow_extra_args(false)
      ->take_all();
  command.add_flag("--no-progress", arguments->no_progress, "Plain lines instead of a live one");
  command.add_flag("--verbose", arguments->verbose, "Log every event");
  command.add_flag("--json", arguments->json, "Print the summary as one JSON object on stdout");
  command.footer("Ctrl-C lets what is in flight finish (engine.stop_grace); a second one stops at once. Whatever ended a run: --resume goes on.\n"
                 "Example: pipestill run examples/tasks/distill.json --seed 2 --set training.max_steps=100 --out runs/short\n"
                 "         pipestill run --resume --out runs/short");
  command.callback([arguments, &action] { action = [arguments] { return run_run(*arguments); }; });
}

}  // namespace pipestill::app
