#include "nodes/distillation.hpp"

#include <algorithm>
#include <system_error>
#include <thread>
#include <utility>
#include <variant>

#include "graph/feedback.hpp"
#include "graph/flow.hpp"
#include "graph/open_sessions.hpp"
#include "nodes/await.hpp"
#include "nodes/batch_source.hpp"
#include "nodes/capability_check.hpp"
#include "nodes/checkpoint_writer.hpp"
#include "nodes/checkpointing.hpp"
#include "nodes/datum_builder.hpp"
#include "nodes/forward_backward.hpp"
#include "nodes/init_teacher.hpp"
#include "nodes/ledger_columns.hpp"
#include "nodes/metrics_sink.hpp"
#include "nodes/model_path.hpp"
#include "nodes/stage_trace.hpp"
#include "nodes/student_history.hpp"
#include "nodes/student_inference.hpp"
#include "nodes/student_session.hpp"
#include "nodes/teacher_inference.hpp"
#include "ports/dataset/dataset_factory.hpp"
#include "ports/printable.hpp"
#include "ports/sampling/sampling_factory.hpp"
#include "ports/sampling/stored_sampling_client.hpp"
#include "ports/telemetry/telemetry_fanout.hpp"
#include "ports/training/training_factory.hpp"

namespace pipestill {
namespace {

using Status = RunSummary::Status;
using Failure = RunSummary::Failure;

/// What the stages of one run share. Null sessions are enough to describe the flow.
struct FlowParts {
  BatchPlan plan = {};
  std::vector<std::shared_ptr<SamplingSession>> teachers = {};  // as in Recipe::teachers()
  std::shared_ptr<TrainingSession> student = nullptr;
  std::uint64_t first = 0;                                                    // step
  FailedRows failed_rows = {};
  std::vector<std::shared_ptr<const StudentVersion>> initial_students = {};  // on_policy: one for each of the first s + 1 batches
  std::shared_ptr<const StudentSampleStore> student_samples = nullptr;  // may be null
  std::shared_ptr<StudentHistory> history = nullptr;
  std::shared_ptr<CheckpointWriter> checkpoints = nullptr;  // may be null
  std::shared_ptr<const Evaluator> evaluator = nullptr;
  std::shared_ptr<OverlapMeter> overlap = nullptr;
  std::shared_ptr<RunTotals> totals = nullptr;
  std::stop_token cut = {};  // requested when a stop's grace is over
};

std::size_t engine_threads(const Recipe& recipe) {
  return recipe.engine.threads > 0 ? recipe.engine.threads : std::max(1u, std::thread::hardware_concurrency());
}

SamplingParams sampling_params(const Recipe::Teacher& teacher) {
  return {.max_tokens = teacher.max_tokens, .temperature = teacher.temperature, .top_k = teacher.top_k, .top_p = teacher.top_p};
}

std::vector<std::shared_ptr<DatasetStore>> datasets_of(const DistillationPorts& ports) {
  std::vector<std::shared_ptr<DatasetStore>> all{ports.dataset};
  all.insert(all.end(), ports.mixed.begin(), ports.mixed.end());
  return all;
}

/// As in Recipe::teachers().
std::vector<std::shared_ptr<SamplingClient>> teachers_of(const DistillationPorts& ports) {
  std::vector<std::shared_ptr<SamplingClient>> all{ports.teacher};
  all.insert(all.end(), ports.more_teachers.begin(), ports.more_teachers.end());
  return all;
}

std::shared_ptr<const Renderer> renderer_of(const DistillationPorts& ports, std::size_t dataset) {
  const auto& own = ports.dataset_renderers;
  return dataset < own.size() && own[dataset] ? own[dataset] : ports.renderer;
}

Result<BatchPlan> batch_plan(const Recipe& recipe, const DistillationPorts& ports) {
  std::vector<std::uint64_t> rows;
  for (const auto& dataset : datasets_of(ports)) rows.push_back(dataset->size());
  return BatchPlan::make(recipe, rows);
}

/// Connects the stages. The flow differs by method only before datum_builder.
class FlowBuilder {
 public:
  FlowBuilder(const Recipe& recipe, const DistillationPorts& ports, const DistillationOptions& options, const FlowParts& parts)
      : recipe_(recipe), ports_(ports), options_(options), parts_(parts) {}

  graph::ClosedFlow build() const {
    auto source = graph::from("batch_source", BatchSource(recipe_, parts_.plan, datasets_of(ports_), parts_.first, parts_.failed_rows));
    const auto any_batch = graph::any_order(recipe_.engine.depth);
    if (recipe_.method == Method::supervised) return train(std::move(source), graph::commits, std::nullopt);
    if (recipe_.method == Method::off_policy)
      return train(std::move(source).then("teacher_inference", any_batch, teacher()), graph::commits, std::nullopt);
    const graph::Feedback<StudentVersion> feedback(parts_.initial_students, graph::Staleness{recipe_.engine.staleness});
    return train(std::move(source)
                     .then("student_inference", any_batch, student(feedback), graph::reads(feedback))
                     .then("teacher_inference", any_batch, teacher()),
                 graph::publishes(feedback), feedback);
  }

 private:
  [[nodiscard]] std::size_t num_datasets() const { return 1 + recipe_.mixed.size(); }
  [[nodiscard]] PromptRenderer prompts(std::size_t dataset) const {
    const auto& section = recipe_.dataset_at(dataset);
    return {renderer_of(ports_, dataset), ports_.tokenizer, section.max_prompt_tokens, section.on_bad_row};
  }
  [[nodiscard]] Asking asking(std::size_t dataset) const {
    const auto& teacher = recipe_.teacher_of(dataset);
    return {prompts(dataset), sampling_params(teacher), RowPolicies::of(teacher)};
  }

  [[nodiscard]] TeacherInference teacher() const {
    const auto [opened, of_dataset] = recipe_.teachers();
    std::vector<RequestQueue> queues;
    for (std::size_t i = 0; i < opened.size(); ++i) {
      queues.emplace_back(i < parts_.teachers.size() ? parts_.teachers[i] : nullptr, opened[i].in_flight, ports_.clock);
    }
    TeacherInferenceOptions options{.telemetry = ports_.telemetry, .clock = ports_.clock};
    for (std::size_t i = 0; i < num_datasets(); ++i) options.datasets.push_back({queues[of_dataset[i]], asking(i)});
    return TeacherInference(std::move(options));
  }
  [[nodiscard]] StudentInference student(const graph::Feedback<StudentVersion>& feedback) const {
    StudentInferenceOptions options{.student = feedback, .clock = ports_.clock, .samples = parts_.student_samples};
    for (std::size_t i = 0; i < num_datasets(); ++i) options.datasets.push_back(asking(i));
    return StudentInference(std::move(options));
  }

  template <class FlowSoFar, class Tag>
  graph::ClosedFlow train(FlowSoFar flow, Tag tag, std::optional<graph::Feedback<StudentVersion>> feedback) const {
    const std::uint64_t evaluation_every = recipe_.evaluation ? recipe_.evaluation->every : 0;
    DatumBuilderOptions of_datums{.method = recipe_.method, .max_length = recipe_.training.max_length};
    for (std::size_t i = 0; i < num_datasets(); ++i) of_datums.prompts.push_back(prompts(i));
    ForwardBackward trainer({.student = parts_.student,
                             .training = recipe_.training,
                             .total_steps = parts_.plan.total_steps(),
                             .evaluation_every = parts_.evaluator ? evaluation_every : 0,
                             .feedback = std::move(feedback),
                             .checkpoint_every = parts_.checkpoints ? recipe_.checkpoint.every : 0,
                             .history = parts_.history,
                             .overlap = parts_.overlap,
                             .telemetry = ports_.telemetry,
                             .clock = ports_.clock});
    MetricsSink sink(ports_.telemetry, ports_.clock, parts_.totals, options_.on_step, ports_.ledger, parts_.checkpoints);
    auto training = std::move(flow)
                        .then("datum_builder", graph::any_order(engine_threads(recipe_)), DatumBuilder(std::move(of_datums)))
                        .then("forward_backward", graph::in_sequence(1), std::move(trainer), tag);
    if (evaluation_every == 0) return finish(std::move(training), std::move(sink));
    return finish(std::move(training).then("evaluation", graph::in_sequence(1), Evaluation(parts_.evaluator, options_.on_evaluation, parts_.cut, ports_.clock)), std::move(sink));
  }

  template <class FlowSoFar>
  graph::ClosedFlow finish(FlowSoFar flow, MetricsSink sink) const {
    if (!parts_.checkpoints || recipe_.checkpoint.every == 0) return std::move(flow).into("metrics_sink", std::move(sink));
    return std::move(flow).then("checkpoint", graph::in_sequence(1), Checkpointing(parts_.checkpoints, ports_.clock)).into("metrics_sink", std::move(sink));
  }

  const Recipe& recipe_;
  const DistillationPorts& ports_;
  const DistillationOptions& options_;
  const FlowParts& parts_;
};

ModelUsage operator-(const ModelUsage& a, const ModelUsage& b) { return {a.compute - b.compute, a.tokens - b.tokens}; }

std::vector<ModelUsage> usage_of(const std::vector<std::shared_ptr<SamplingSession>>& sessions) {
  std::vector<ModelUsage> usage;
  for (const auto& session : sessions) usage.push_back(session->usage());
  return usage;
}

/// The student that a batch is sampled with.
std::uint64_t version_of(const Recipe& recipe, std::uint64_t step) { return step > recipe.engine.staleness ? step - recipe.engine.staleness : 0; }

/// One run, step by step. Every step returns the failure that ends the run, if any.
class Distillation {
 public:
  Distillation(const Recipe& recipe, const DistillationPorts& ports, const DistillationOptions& options)
      : recipe_(recipe),
        ports_(ports),
        options_(options),
        on_stop_(options.stop, [this] { abort_.request_stop(); }),
        on_stop_now_(options.stop_now, [this] { abort_.request_stop(); }) {
    if (!ports_.clock) ports_.clock = std::make_shared<SystemClock>();
    if (!ports_.telemetry) ports_.telemetry = std::make_shared<TelemetryFanout>();
    if (ports_.telemetry->wants_spans() || ports_.telemetry->wants_stage_events()) trace_ = std::make_unique<StageTrace>(ports_.telemetry);
  }

  RunSummary run() {
    summary_.identity = machine_identity();
    if (options_.resume) {
      parts_.first = options_.resume->checkpoint.facts.step;
      summary_.totals = options_.resume->totals;
      summary_.tokens_before = summary_.totals.num_tokens;
      summary_.resumed_at = parts_.first;
    }
    if (ports_.ledger) summary_.ledger_digest = to_hex(ports_.ledger->digest());
    graph::OpenSessions sessions(*ports_.clock, trace_.get());
    auto failure = prepare();
    if (!failure) failure = open(sessions);
    if (!failure) failure = run_between_evaluations();
    if (failure) settle(*std::move(failure));
    if (auto unsaved = finish_checkpoints()) settle(*std::move(unsaved));
    if (student_ && student_->session() && summary_.status != Status::failed) {
      if (auto unsaved = save_weights()) settle(*std::move(unsaved));
    }
    parts_ = {};  // the stages' hold on the sessions ends before these close
    summary_.close_failures = sessions.close();
    if (!summary_.close_failures.empty() && !summary_.failure) {
      summary_.status = Status::failed;
      summary_.failure = summary_.close_failures.front();
    }
    return std::move(summary_);
  }

 private:
  /// What can be known before anything costs.
  std::optional<Failure> prepare() {
    auto planned = plan_run(recipe_, ports_);
    if (!planned) return Failure{"recipe", std::nullopt, std::move(planned.error())};
    if (ports_.ledger && ports_.ledger->next_step() != parts_.first) {
      return Failure{"ledger", std::nullopt,
                     {ErrorCode::invalid_input, "the run begins at step " + std::to_string(parts_.first) + ", and its ledger is at step " + std::to_string(ports_.ledger->next_step()) +
                                                    ": it needs one of its own"}};
    }
    if (options_.resume) {
      if (auto whole = check_versions(recipe_, options_.resume->checkpoint); !whole) return Failure{"init_student", std::nullopt, std::move(whole.error())};
    }
    parts_.plan = *batch_plan(recipe_, ports_);
    auto data = data_identity(recipe_, ports_, *planned);
    if (!data) return Failure{"recipe", std::nullopt, std::move(data.error())};
    summary_.identity.merge(*data);
    parts_.totals = std::make_shared<RunTotals>(summary_.totals);
    if (!recipe_.evaluation || !ports_.evaluation) return std::nullopt;
    auto evaluator = Evaluator::make(*ports_.evaluation, ports_.renderer, ports_.clock,
                                     {.metrics = recipe_.evaluation->metrics,
                                      .max_tokens = recipe_.evaluation->max_tokens,
                                      .limit = recipe_.evaluation->limit,
                                      .in_flight = recipe_.teacher ? recipe_.teacher->in_flight : EvaluationOptions{}.in_flight});
    if (!evaluator) return Failure{"evaluation", std::nullopt, std::move(evaluator.error())};
    parts_.evaluator = *std::move(evaluator);
    return std::nullopt;
  }

  std::optional<Failure> open(graph::OpenSessions& sessions) {
    const auto clients = teachers_of(ports_);
    const auto asked = recipe_.teachers().opened;
    for (std::size_t i = 0; i < asked.size(); ++i) {
      const auto teacher = std::make_shared<TeacherSession>(clients[i], recipe_, i, ports_.clock);
      if (auto failure = sessions.open(teacher, abort_.get_token())) return failure;
      parts_.teachers.push_back(teacher->session());
    }
    student_ = std::make_shared<StudentSession>(ports_.student, recipe_, ports_.clock);
    if (auto failure = sessions.open(student_, abort_.get_token())) return failure;
    parts_.student = student_->session();
    for (const auto& teacher : parts_.teachers) summary_.identity.merge(teacher->identity());
    summary_.identity.merge(parts_.student->identity());
    if (options_.check_identity) {
      if (auto same = options_.check_identity(summary_.identity); !same) return Failure{"run", std::nullopt, std::move(same.error())};
    }
    parts_.failed_rows = ports_.failed_rows;
    if (ports_.ledger) {
      auto failed = failed_rows(*ports_.ledger);
      if (!failed) return Failure{"ledger", std::nullopt, std::move(failed.error())};
      parts_.failed_rows.merge(*failed);
    }
    if (options_.resume) {
      auto loaded = await<std::monostate>(*ports_.clock, [&](auto done) { parts_.student->load_state(options_.resume->checkpoint.student, abort_.get_token(), std::move(done)); });
      if (!loaded) return Failure{"init_student", std::nullopt, std::move(loaded.error())};
    }
    if (options_.checkpoints) {
      CheckpointWriterOptions writer{.store = *options_.checkpoints, .identity = summary_.identity, .telemetry = ports_.telemetry, .clock = ports_.clock};
      if (ports_.ledger) writer.sync_ledger = [ledger = ports_.ledger] { return ledger->sync(); };
      parts_.checkpoints = std::make_shared<CheckpointWriter>(std::move(writer));
    }
    parts_.overlap = std::make_shared<OverlapMeter>([clock = ports_.clock, teachers = parts_.teachers, student = parts_.student] {
      OverlapMeter::Reading reading{clock->now(), usage_of(teachers)};
      reading.models.push_back(student->usage());
      return reading;
    });
    return std::nullopt;
  }

  std::optional<Failure> run_between_evaluations() {
    std::optional<SamplingCapabilities> snapshot_capabilities;
    if (recipe_.method == Method::on_policy || parts_.evaluator) {
      auto snapshot = take_snapshot();
      if (!snapshot) return Failure{"init_student", std::nullopt, std::move(snapshot.error())};
      snapshot_capabilities = (*snapshot)->capabilities();
      if (recipe_.method == Method::on_policy) {
        if (!snapshot_capabilities->has_logprobs) {
          return Failure{
              "init_student",
              std::nullopt,
              {ErrorCode::invalid_input, "method: on_policy needs the log-probability of every sampled token, which student.client \"" +
                                             recipe_.student.client + "\" does not give; off_policy would do without"}};
        }
        if (!snapshot_capabilities->is_repeatable() && ports_.student_samples) {
          auto samples = ports_.student_samples();
          if (!samples) return Failure{"init_student", std::nullopt, std::move(samples.error())};
          parts_.student_samples = *std::move(samples);
          if (parts_.student_samples->is_recorded_only()) snapshot_capabilities->is_seeded = snapshot_capabilities->is_deterministic = true;
        }
        if (auto missing = take_initial_students(*snapshot)) return missing;
      }
      if (!options_.resume) {
        if (auto failure = evaluate(EvaluationRecord::When::before, *std::move(snapshot), summary_.eval_before)) return failure;
      }
    }
    StudentHistory::Versions versions;
    for (std::size_t i = 0; i < parts_.initial_students.size(); ++i) versions.emplace(version_of(recipe_, parts_.first + i), parts_.initial_students[i]->sampler);
    parts_.history = std::make_shared<StudentHistory>(recipe_.engine.staleness, parts_.first, std::move(versions));
    std::vector<SamplingCapabilities> teachers;
    for (const auto& teacher : parts_.teachers) teachers.push_back(teacher->capabilities());
    summary_.nondeterminism = nondeterminism(recipe_.method, teachers, parts_.student->capabilities(), snapshot_capabilities);
    run_flow();
    if (summary_.status != Status::finished || !parts_.evaluator) return std::nullopt;
    auto snapshot = take_snapshot();
    if (!snapshot) return Failure{"evaluation", std::nullopt, std::move(snapshot.error())};
    return evaluate(EvaluationRecord::When::after, *std::move(snapshot), summary_.eval_after);
  }

  /// `current` is version `first`; those before it lie beside the checkpoint.
  std::optional<Failure> take_initial_students(const std::shared_ptr<SamplingSession>& current) {
    std::map<std::uint64_t, std::shared_ptr<const StudentVersion>> loaded{{parts_.first, std::make_shared<const StudentVersion>(StudentVersion{current})}};
    for (std::uint64_t step = parts_.first; step <= parts_.first + recipe_.engine.staleness; ++step) {
      const auto version = version_of(recipe_, step);
      auto& student = loaded[version];
      if (!student) {
        auto sampler = load_version(version);
        if (!sampler) return Failure{"init_student", std::nullopt, std::move(sampler.error())};
        student = std::make_shared<const StudentVersion>(StudentVersion{*std::move(sampler)});
      }
      parts_.initial_students.push_back(student);
    }
    return std::nullopt;
  }

  /// Of those that check_versions() has seen.
  Result<std::shared_ptr<SamplingSession>> load_version(std::uint64_t version) {
    return await<std::shared_ptr<SamplingSession>>(
        *ports_.clock, [&](auto done) { parts_.student->load_snapshot(options_.resume->checkpoint.versions.at(version), abort_.get_token(), std::move(done)); });
  }

  void run_flow() {
    parts_.cut = cut_.get_token();
    auto flow = FlowBuilder(recipe_, ports_, options_, parts_).build();
    parts_.initial_students.clear();  // the flow's own now: a snapshot lives no longer than somebody reads it
    const auto teachers_before = usage_of(parts_.teachers);
    const auto student_before = parts_.student->usage();
    const double cpu_before = process_cpu_seconds();
    auto report = graph::run(std::move(flow), {.first = {parts_.first},
                                               .depth = recipe_.engine.depth,
                                               .threads = recipe_.engine.threads,
                                               .executor = options_.executor,
                                               .stop = options_.stop,
                                               .stop_now = options_.stop_now,
                                               .stop_grace = recipe_.engine.stop_grace,
                                               .clock = ports_.clock,
                                               .trace = trace_.get(),
                                               .monitor = options_.monitor,
                                               .depth_bytes = recipe_.engine.depth_bytes,
                                               .on_stall = options_.on_stall ? [this](const graph::Stall& stall) { report_stall(stall); } : std::function<void(const graph::Stall&)>(),
                                               .stall_timeout = recipe_.engine.stall_timeout,
                                               .on_cut = [this] { cut_.request_stop(); }});
    summary_.cpu_s = process_cpu_seconds() - cpu_before;
    summary_.wall_s = static_cast<double>(report.wall.count()) / 1e9;
    summary_.teachers = usage_of(parts_.teachers);
    for (std::size_t i = 0; i < teachers_before.size(); ++i) summary_.teachers[i] = summary_.teachers[i] - teachers_before[i];
    summary_.student = parts_.student->usage() - student_before;
    summary_.overlap_busy = parts_.overlap->busy();
    summary_.totals = *parts_.totals;
    if (ports_.ledger) summary_.ledger_digest = to_hex(ports_.ledger->digest());
    summary_.stages = std::move(report.stages);
    summary_.status = report.status;
    summary_.failure = std::move(report.failure);
    if (report.status != Status::finished) cut_at_ = report.cut.value;
  }

  /// Waits for the checkpoint that is being written. A run that was cut leaves one more, if the student is that of the cut: a stage behind training may
  /// fail when the student has met more batches, and those can no longer be taken from it.
  std::optional<Failure> finish_checkpoints() {
    if (!parts_.checkpoints) return std::nullopt;
    auto done = cut_at_ && *cut_at_ > parts_.first && parts_.history->batches_met() == *cut_at_ ? save_cut(*cut_at_) : Result<void>();
    if (auto finished = parts_.checkpoints->finish(); done && !finished) done = std::move(finished);
    if (done) return std::nullopt;
    Failure failure{"checkpoint", std::nullopt, std::move(done.error())};
    if (!summary_.failure) return failure;
    summary_.close_failures.push_back(std::move(failure));  // the first failure stays the run's
    return std::nullopt;
  }

  /// A stop does not reach this: it is what a stop is for.
  Result<void> save_cut(std::uint64_t step) {
    if (parts_.checkpoints->has_taken(step)) return {};
    auto state = await<std::shared_ptr<const TrainingState>>(*ports_.clock, [&](auto done) { parts_.student->capture_state({}, std::move(done)); });
    if (!state) return fail(std::move(state.error()));
    const auto student = std::make_shared<const CapturedStudent>(CapturedStudent{*std::move(state), parts_.history->older_than(step)});
    auto taken = await<std::monostate>(*ports_.clock, [&](auto done) { parts_.checkpoints->save(step, student, {}, std::move(done)); });
    if (!taken) return fail(std::move(taken.error()));
    parts_.checkpoints->recorded(step, summary_.ledger_digest.value_or(""));
    return {};
  }

  void report_stall(const graph::Stall& stall) {
    ports_.telemetry->event("pipestill.distillation.stall", {{"stage", stall.oldest.stage},
                                                             {"seq", stall.oldest.seq.value},
                                                             {"age_s", std::chrono::duration<double>(stall.oldest.age).count()},
                                                             {"still_s", std::chrono::duration<double>(stall.duration).count()}});
    options_.on_stall(stall);
  }

  std::optional<Failure> evaluate(EvaluationRecord::When when, std::shared_ptr<SamplingSession> snapshot,
                                  std::optional<EvaluationResult>& into) {
    if (!parts_.evaluator) return std::nullopt;
    auto result = parts_.evaluator->evaluate(std::move(snapshot), abort_.get_token());
    if (!result) return Failure{"evaluation", std::nullopt, std::move(result.error())};
    into = *std::move(result);
    if (options_.on_evaluation) options_.on_evaluation({when, summary_.totals.steps, *into});
    return std::nullopt;
  }

  Result<std::shared_ptr<SamplingSession>> take_snapshot() {
    return await<std::shared_ptr<SamplingSession>>(*ports_.clock,
                                                   [&](auto done) { parts_.student->snapshot(abort_.get_token(), std::move(done)); });
  }

  /// A stop does not reach this: it is short, and what a stopped run has learned is kept.
  std::optional<Failure> save_weights() {
    auto& student = *student_->session();
    auto digest = await<std::string>(*ports_.clock, [&](auto done) { student.weights_digest({}, std::move(done)); });
    if (!digest) return Failure{"save_weights", std::nullopt, std::move(digest.error())};
    summary_.weights_digest = *std::move(digest);
    const auto& directory = options_.model_directory;
    if (directory.empty()) return std::nullopt;
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    if (error)
      return Failure{
          "save_weights", std::nullopt, {ErrorCode::invalid_input, "cannot create " + directory.string() + ": " + error.message()}};
    auto exported = await<std::monostate>(*ports_.clock, [&](auto done) { student.export_weights(directory, {}, std::move(done)); });
    if (!exported) return Failure{"save_weights", std::nullopt, std::move(exported.error())};
    if (auto saved = ports_.tokenizer->save(directory); !saved) return Failure{"save_weights", std::nullopt, std::move(saved.error())};
    return std::nullopt;
  }

  /// What the user's own stop cancelled is no failure.
  void settle(Failure failure) {
    if (failure.error.code == ErrorCode::cancelled && abort_.stop_requested()) {
      summary_.status = Status::stopped;
      return;
    }
    summary_.status = Status::failed;
    summary_.weights_digest.reset();
    summary_.failure = std::move(failure);
  }

  const Recipe& recipe_;
  DistillationPorts ports_;
  const DistillationOptions& options_;
  std::stop_source abort_;  // either kind of stop; for what is not inside the flow
  std::stop_callback<std::function<void()>> on_stop_, on_stop_now_;
  std::stop_source cut_;  // a stop's grace is over
  std::unique_ptr<StageTrace> trace_;
  std::shared_ptr<StudentSession> student_;
  FlowParts parts_;
  std::optional<std::uint64_t> cut_at_;  // empty: it was not
  RunSummary summary_;
};

/// Without ports: it cannot run.
graph::ClosedFlow flow_to_look_at(const Recipe& recipe) {
  auto flow = FlowBuilder(recipe, {}, {}, {}).build();
  for (std::size_t i = 0; i < recipe.teachers().opened.size(); ++i) flow = std::move(flow).with(std::make_shared<TeacherSession>(nullptr, recipe, i, nullptr));
  return std::move(flow).with(std::make_shared<StudentSession>(nullptr, recipe, nullptr));
}

Error in_section(const std::string& section, Error error) {
  error.message = section + ": " + error.message;
  return error;
}

}  // namespace

RunSummary distil(const Recipe& recipe, const DistillationPorts& ports, const DistillationOptions& options) {
  return Distillation(recipe, ports, options).run();
}

Result<RunPlan> plan_run(const Recipe& recipe, const DistillationPorts& ports) {
  const auto stores = datasets_of(ports);
  if (!ports.student || !std::ranges::all_of(stores, [](const auto& store) { return store != nullptr; }) || !ports.tokenizer || !ports.renderer) {
    return fail(ErrorCode::invalid_input, "a run needs the ports student, dataset, tokenizer and renderer; one of them is null");
  }
  const auto asked = recipe.teachers().opened;
  const auto clients = teachers_of(ports);
  const bool has_all = !asked.empty() && clients.size() >= asked.size() && std::ranges::none_of(clients, [](const auto& client) { return client == nullptr; });
  if (recipe.method != Method::supervised && !has_all) {
    return fail(ErrorCode::invalid_input, "this method needs a teacher, in the recipe and as a port, and of a mix every one that it names; only supervised does without");
  }
  if (recipe.method != Method::on_policy && recipe.engine.staleness > 0) {
    return fail(ErrorCode::invalid_input,
                "engine.staleness: must be 0 where the student is not sampled in training; only on_policy samples it");
  }
  const auto plan = batch_plan(recipe, ports);
  if (!plan) return fail(plan.error());
  const auto datasets = recipe.datasets();
  std::vector<RunPlan::Dataset> opened;
  for (std::size_t i = 0; i < datasets.size(); ++i) {
    opened.push_back({stores[i]->size(), stores[i]->fingerprint()});
    const auto& expected = datasets[i].fingerprint;
    if (expected.empty() || expected == opened[i].fingerprint) continue;
    return fail(ErrorCode::invalid_input, "dataset.fingerprint: the lines of " + datasets[i].path.string() + " have the SHA-256 " + opened[i].fingerprint + ", not " +
                                              printable(expected, 64) + ": the file has changed, or it is another one; set dataset.fingerprint to null to take it as it is");
  }
  std::vector<SamplingCapabilities> teachers;
  for (std::size_t i = 0; i < asked.size(); ++i) {
    teachers.push_back(clients[i]->capabilities());
    if (auto able = check_teacher(recipe, asked[i], teachers[i]); !able) return fail(std::move(able.error()));
    if (auto sound = clients[i]->check(teacher_model(recipe, asked[i])); !sound) return fail(in_section(asked[i].key + ".teacher_model", std::move(sound.error())));
    if (auto same = check_shared_tokens(recipe, asked[i], *clients[i], *ports.tokenizer); !same) return fail(std::move(same.error()));
  }
  const auto student = ports.student->capabilities();
  if (auto able = check_student(recipe, student); !able) return fail(std::move(able.error()));
  if (auto sound = ports.student->check(student_model(recipe)); !sound) return fail(in_section("student.model", std::move(sound.error())));
  if (auto large_enough = check_vocabulary(recipe, *ports.student, *ports.tokenizer); !large_enough) return fail(std::move(large_enough.error()));
  return RunPlan{plan->datasets.front().rows, plan->batches_per_epoch, plan->total_steps(), nondeterminism(recipe.method, teachers, student, std::nullopt), std::move(opened)};
}

Result<void> check_versions(const Recipe& recipe, const SavedCheckpoint& checkpoint) {
  if (recipe.method != Method::on_policy) return {};
  const auto cursor = checkpoint.facts.step;
  for (auto version = version_of(recipe, cursor); version < cursor; ++version) {
    if (checkpoint.versions.contains(version)) continue;
    return fail(ErrorCode::invalid_input, "the checkpoint " + checkpoint.student.parent_path().string() + " does not hold the student after " + std::to_string(version) +
                                              " batches, which engine.staleness " + std::to_string(recipe.engine.staleness) + " needs to go on from there");
  }
  return {};
}

Result<std::map<std::string, std::string>> data_identity(const Recipe& recipe, const DistillationPorts& ports, const RunPlan& plan) {
  std::map<std::string, std::string> facts{{"tokenizer", ports.tokenizer->fingerprint()}};
  for (std::size_t i = 0; i < plan.datasets.size(); ++i) facts["dataset" + (i == 0 ? "" : "." + std::to_string(i))] = plan.datasets[i].fingerprint;
  const auto clients = teachers_of(ports);
  const auto asked = recipe.teachers().opened;
  for (std::size_t i = 0; i < asked.size(); ++i) {
    auto teacher = clients[i]->model_identity(teacher_model(recipe, asked[i]));
    if (!teacher) return fail(std::move(teacher.error()));
    facts[numbered_teacher(i)] = *std::move(teacher);
  }
  auto student = ports.student->model_identity(student_model(recipe));
  if (!student) return fail(std::move(student.error()));
  facts["student"] = *std::move(student);
  return facts;
}

bool is_of_data(std::string_view fact) {
  constexpr std::array<std::string_view, 4> kKinds{"dataset", "tokenizer", "teacher", "student"};
  return std::ranges::find(kKinds, fact.substr(0, fact.find('.'))) != kKinds.end();
}

Result<DistillationPorts> make_ports(const Recipe& recipe, std::shared_ptr<Clock> clock, std::shared_ptr<Telemetry> telemetry,
                                     const std::function<void(const DatasetProgress&)>& on_dataset_progress, Teachers teachers) {
  DistillationPorts ports{.telemetry = std::move(telemetry), .clock = clock ? std::move(clock) : std::make_shared<SystemClock>()};
  for (const auto& dataset : recipe.datasets()) {
    auto opened = open_dataset(recipe.locate(dataset.path), {.table = dataset.table,
                                                             .query = dataset.query,
                                                             .cache = dataset.cache.empty() ? dataset.cache : recipe.locate(dataset.cache),
                                                             .on_progress = on_dataset_progress});
    if (!opened) return fail(std::move(opened.error()));
    if (!ports.dataset) {
      ports.dataset = *std::move(opened);
    } else {
      ports.mixed.push_back(*std::move(opened));
    }
  }
  if (recipe.evaluation) {
    auto evaluation = open_dataset(recipe.locate(recipe.evaluation->path));
    if (!evaluation) return fail(std::move(evaluation.error()));
    ports.evaluation = *std::move(evaluation);
  }
  auto tokenizer = Tokenizer::load(locate_model(recipe, recipe.student.tokenizer));
  if (!tokenizer) return fail(std::move(tokenizer.error()));
  ports.tokenizer = *std::move(tokenizer);
  const auto make_renderer = [&](const Recipe::Rendering& rendering, const std::string& section) -> Result<std::shared_ptr<const Renderer>> {
    auto made = Renderer::make(rendering.renderer, ports.tokenizer, rendering.options);
    if (!made) return fail(in_section(section + ".renderer", std::move(made.error())));
    return *std::move(made);
  };
  auto renderer = make_renderer(recipe.student.rendering, "student");
  if (!renderer) return fail(std::move(renderer.error()));
  ports.renderer = *std::move(renderer);
  for (std::size_t i = 0; i <= recipe.mixed.size(); ++i) {
    auto& own = ports.dataset_renderers.emplace_back();
    if (!recipe.dataset_at(i).rendering) continue;
    auto made = make_renderer(*recipe.dataset_at(i).rendering, "dataset[" + std::to_string(i) + "]");
    if (!made) return fail(std::move(made.error()));
    own = *std::move(made);
  }
  const auto opened = recipe.teachers().opened;
  std::map<std::filesystem::path, std::shared_ptr<AnswerStore>> stores;  // one an open file
  for (const auto& asked : opened) {
    auto teacher = make_sampling_client(asked.section, ports.clock);
    if (!teacher) return fail(in_section(asked.key, std::move(teacher.error())));
    if (!asked.teacher_store.empty() && teachers == Teachers::asked) {
      const auto path = recipe.locate(asked.teacher_store);
      auto& store = stores[path];
      if (!store) {
        const auto durability = strictest_durability(opened, [&](const Recipe::Teacher& each) { return !each.teacher_store.empty() && recipe.locate(each.teacher_store) == path; });
        auto kept = AnswerStore::open(path, durability);
        if (!kept) return fail(in_section(asked.key + ".teacher_store", std::move(kept.error())));
        store = *std::move(kept);
      }
      *teacher = make_stored_sampling_client(*std::move(teacher), store, ports.tokenizer->fingerprint());
    }
    if (!ports.teacher) {
      ports.teacher = *std::move(teacher);
    } else {
      ports.more_teachers.push_back(*std::move(teacher));
    }
  }
  auto student = make_training_client(recipe.resolved.at("student").as_object(), ports.clock);
  if (!student) return fail(in_section("student", std::move(student.error())));
  ports.student = *std::move(student);
  return ports;
}

Durability strictest_durability(const std::vector<Recipe::Teacher>& teachers, const std::function<bool(const Recipe::Teacher&)>& keeps) {
  const bool is_power = std::ranges::any_of(teachers, [&](const Recipe::Teacher& teacher) { return teacher.durability == Durability::power && keeps(teacher); });
  return is_power ? Durability::power : Durability::process;
}

std::string numbered_teacher(std::size_t number) { return "teacher" + (number == 0 ? "" : "." + std::to_string(number)); }

std::string describe_flow(const Recipe& recipe) { return flow_to_look_at(recipe).to_text(); }

std::string draw_flow(const Recipe& recipe) { return flow_to_look_at(recipe).to_dot(); }

}  // namespace pipestill
