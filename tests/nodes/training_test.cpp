#include <doctest/doctest.h>

#include <stdexcept>

#include "nodes/datum.hpp"
#include "nodes/datum_builder.hpp"
#include "nodes/evaluation.hpp"
#include "nodes/forward_backward.hpp"
#include "nodes/learning_rate.hpp"
#include "nodes/metrics_sink.hpp"
#include "ports/dataset/memory_store.hpp"
#include "ports/datum_digest.hpp"
#include "tests/nodes/fakes.hpp"

namespace {

using namespace pipestill;
using namespace pipestill::test;

const PromptRenderer kRenderer{std::make_shared<LetterRenderer>(), std::make_shared<LetterTokenizer>()};

SampledBatch sampled(const std::vector<std::string>& answers) {
  SampledBatch batch{.at = {0, 2, 2}, .teacher_cost = {.latency = std::chrono::milliseconds(4)}};
  for (auto& row : prompts(answers).rows) {
    batch.rows.push_back({.row = row, .prompt = ModelInput{{{{'p', 'q'}}, {{'>'}}}}, .answer = answer_of(row.conversation[0].content.said())});
  }
  return batch;
}

DatumBatch build(SampledBatch batch, DatumBuilderOptions options = {}) {
  options.prompts = {kRenderer};
  graph::Context context;
  auto out = DatumBuilder(options)(std::move(batch), context);
  if (!out) FAIL(out.error().message);
  return *out;
}

struct Trainer {
  std::shared_ptr<SimulatedClock> clock = std::make_shared<SimulatedClock>();
  std::shared_ptr<RecordingTraining> session = std::make_shared<RecordingTraining>(clock);
  std::shared_ptr<RecordingTelemetry> telemetry = std::make_shared<RecordingTelemetry>();
  std::optional<graph::Feedback<StudentVersion>> feedback;
  std::uint64_t evaluation_every = 0, checkpoint_every = 0;
  std::shared_ptr<StudentHistory> history;
  Recipe::Training training =
      recipe_of("off_policy", {"training.learning_rate=8", "training.lr_schedule=linear", "training.weight_decay=0.5"}).training;
  graph::Context context;

  Delivered<StepResult> train(DatumBatch batch) {
    ForwardBackward stage({.student = session,
                           .training = training,
                           .total_steps = 4,
                           .evaluation_every = evaluation_every,
                           .feedback = feedback,
                           .checkpoint_every = checkpoint_every,
                           .history = history,
                           .telemetry = telemetry,
                           .clock = clock});
    Delivered<StepResult> out;
    stage(std::move(batch), context, out.completion());
    CHECK(!out.has());  // never from inside the call
    run_to_the_end(*clock);
    return out;
  }
};

}  // namespace

TEST_CASE("datum_builder takes the sampled tokens as they are and counts the trained positions") {
  const auto batch = build(sampled({"ab.", "c."}));
  REQUIRE(batch.rows.size() == 2);
  CHECK(batch.rows[0].datum == *answer_datum({{{{'p', 'q'}}, {{'>'}}}}, letters("ab."), 100));
  CHECK(batch.num_tokens == 5);
  CHECK(batch.datum_digest == datum_digest(std::vector<Datum>{*batch.rows[0].datum, *batch.rows[1].datum}));
  CHECK(batch.at == Position{0, 2, 2});
  CHECK(batch.teacher_cost.latency == std::chrono::milliseconds(4));
}

TEST_CASE("datums are deterministic, and the digest sees every row") {
  CHECK(build(sampled({"ab.", "c."})).datum_digest == build(sampled({"ab.", "c."})).datum_digest);
  CHECK(build(sampled({"ab.", "c."})).datum_digest != build(sampled({"ab.", "d."})).datum_digest);
  CHECK(build(sampled({"ab.", "c."})).datum_digest != build(sampled({"c.", "ab."})).datum_digest);
}

TEST_CASE("a row that max_length leaves no trained token is dropped and counted, and an earlier drop keeps its reason") {
  auto input = sampled({"ab.", "c."});
  input.rows[1].row.dropped = DropReason::empty;
  const auto batch = build(std::move(input), {.max_length = 3});
  CHECK(batch.rows[0].row.dropped == DropReason::untrained);
  CHECK(!batch.rows[0].datum);
  CHECK(batch.rows[1].row.dropped == DropReason::empty);
  CHECK(!batch.rows[1].datum);
  CHECK(batch.num_tokens == 0);
}

TEST_CASE("supervised datums train on the last message of the conversation, with the prompt truncated") {
  auto renderer = kRenderer;
  renderer.max_prompt_tokens = 2;
  DatumBuilder builder({Method::supervised, {renderer}, 100});
  PromptBatch input = prompts({"abcd"});
  input.rows[0].conversation.push_back({"assistant", "xy."});
  graph::Context context;
  const auto batch = builder(std::move(input), context);
  REQUIRE(batch);
  CHECK(batch->rows[0].datum == *answer_datum({{{{'a', 'b'}}, {{'>'}}}}, letters("xy."), 100));
}

TEST_CASE("on_policy datums carry the sampler's log-probabilities and the advantages") {
  auto input = sampled({"a."});
  input.rows[0].teacher_logprobs = {-0.25f, -1.0f};
  input.student_version = 3;
  const auto batch = build(std::move(input), {.method = Method::on_policy});
  const auto& inputs = batch.rows[0].datum->loss_fn_inputs;
  CHECK(std::get<std::vector<float>>(inputs.at("logprobs").data) == std::vector<float>{0, 0, -0.5f, -0.5f});
  CHECK(std::get<std::vector<float>>(inputs.at("advantages").data) == std::vector<float>{0, 0, 0.25f, -0.5f});
  CHECK(batch.student_version == 3);
}

TEST_CASE("forward_backward and optim_step are submitted back to back, with the recipe's loss and the step's learning rate") {
  Trainer t;
  auto out = t.train(build(sampled({"ab.", "c."})));
  CHECK(t.session->calls == std::vector<std::string>{"forward_backward", "optim_step"});
  CHECK(t.session->batches.at(0).size() == 2);
  CHECK(t.session->losses.at(0).name == "cross_entropy");
  CHECK(t.session->losses[0].normalization == Normalization::token_mean);
  CHECK(t.session->adams.at(0).learning_rate == 4);  // step 2 of 4, linear from 8
  CHECK(t.session->adams[0].weight_decay == 0.5);
  const auto& result = out.value();
  CHECK(result.has_trained);
  CHECK(result.distill_loss == 1.5);
  CHECK(result.grad_norm == 0.25);
  CHECK(result.learning_rate == 4);
  CHECK(result.num_tokens == 5);
  CHECK(!result.snapshot);
  CHECK(t.telemetry->count("pipestill.distillation.forward_backward") == 1);
}

TEST_CASE("a batch without a row makes no optimizer step, and still travels") {
  Trainer t;
  auto input = sampled({"ab.", "c."});
  for (auto& row : input.rows) row.row.dropped = DropReason::error;
  auto out = t.train(build(std::move(input)));
  CHECK(t.session->calls.empty());
  CHECK(!out.value().has_trained);
  CHECK(!out.value().distill_loss);
  CHECK(out.value().dropped[DropReason::error] == 2);
  CHECK(out.value().rows.size() == 2);
}

TEST_CASE("the first of the failed calls is the batch's error") {
  Trainer both;
  both.session->forward_backward_fails = Error{ErrorCode::backend_failed, "out of memory"};
  both.session->optim_step_fails = Error{ErrorCode::backend_failed, "nothing to step on"};
  CHECK(both.train(build(sampled({"a."}))).error().message == "out of memory");
  Trainer second;
  second.session->optim_step_fails = Error{ErrorCode::backend_failed, "no step"};
  CHECK(second.train(build(sampled({"a."}))).error().message == "no step");
}

TEST_CASE("on_policy publishes the snapshot behind the step, and nothing for an empty batch or a failed one") {
  Trainer t;
  t.feedback.emplace(nullptr, graph::Staleness{0});
  t.session->next_snapshot = std::make_shared<ManualSampling>();
  auto out = t.train(build(sampled({"a."})));
  CHECK(t.session->calls == std::vector<std::string>{"forward_backward", "optim_step", "snapshot"});
  REQUIRE(t.context.next_value);
  CHECK(std::static_pointer_cast<const StudentVersion>(t.context.next_value)->sampler == t.session->next_snapshot);
  CHECK(!out.value().snapshot);  // no evaluation is due: nobody else keeps it

  Trainer empty;
  empty.feedback.emplace(nullptr, graph::Staleness{0});
  empty.train(build(sampled({})));
  CHECK(!empty.context.next_value);

  Trainer failed;
  failed.feedback.emplace(nullptr, graph::Staleness{0});
  failed.session->snapshot_fails = Error{ErrorCode::backend_failed, "no"};
  CHECK(failed.train(build(sampled({"a."}))).error().message == "no");
  CHECK(!failed.context.next_value);
}

TEST_CASE("a snapshot is taken for every n-th batch, empty or not, where evaluations are due") {
  for (const std::uint64_t every : {2, 3}) {
    Trainer t;
    t.evaluation_every = every;
    auto out = t.train(build(sampled({"a."})));  // the third batch
    CHECK((out.value().snapshot != nullptr) == (every == 3));
    CHECK(t.session->calls.size() == (every == 3 ? 3 : 2));
  }
  Trainer t;
  t.evaluation_every = 3;
  CHECK(t.train(build(sampled({}))).value().snapshot);
}

TEST_CASE("the student is captured behind every n-th step, empty or not, with the older versions that are still to be read") {
  struct NoState final : TrainingState {
    Result<void> save(const std::filesystem::path&) const override { return {}; }
  };
  const auto version = [] { return std::make_shared<ManualSampling>(); };
  const std::shared_ptr<SamplingSession> one = version(), two = version();
  for (const auto& answers : {std::vector<std::string>{"a."}, std::vector<std::string>{}}) {
    Trainer t;
    t.checkpoint_every = 3;
    t.feedback.emplace(std::make_shared<const StudentVersion>(), graph::Staleness{2});
    t.history = std::make_shared<StudentHistory>(2, 2, StudentHistory::Versions{{0, version()}, {1, one}, {2, two}});
    t.session->next_state = std::make_shared<NoState>();
    t.session->next_snapshot = version();
    const auto result = t.train(build(sampled(answers))).value();  // step 2
    REQUIRE(result.captured);
    CHECK(result.captured->state == t.session->next_state);
    CHECK(result.captured->versions == StudentHistory::Versions{{1, one}, {2, two}});
    CHECK(t.session->calls.back() == "capture_state");
    CHECK(t.history->batches_met() == 3);
    CHECK(t.history->older_than(3) == result.captured->versions);
  }
  Trainer between;
  between.checkpoint_every = 2;
  between.history = std::make_shared<StudentHistory>(0, 2, StudentHistory::Versions{});
  CHECK(!between.train(build(sampled({"a."}))).value().captured);
  Trainer failing;
  failing.checkpoint_every = 3;
  failing.history = between.history;
  failing.session->capture_fails = Error{ErrorCode::backend_failed, "no memory"};
  CHECK(failing.train(build(sampled({"a."}))).error().message == "no memory");
}

TEST_CASE("the history knows what the student has met, whatever became of the batch") {
  const auto version = [] { return std::make_shared<ManualSampling>(); };
  const auto first = version(), third = version();
  StudentHistory history(2, 0, {{0, first}});
  CHECK(history.older_than(0).empty());
  history.passed(0, nullptr);  // nothing was trained: the same student is version 1
  history.met(1);
  CHECK(history.batches_met() == 2);
  history.passed(1, version());
  history.passed(2, third);
  CHECK(history.batches_met() == 3);
  const auto older = history.older_than(3);
  REQUIRE(older.size() == 2);
  CHECK(older.begin()->first == 1);
  CHECK(older.begin()->second == first);
  CHECK(first.use_count() == 3);  // version 0 is gone
  CHECK(!older.contains(3));
}

TEST_CASE("metrics: determined columns, the observed apart, and totals add up") {
  const auto telemetry = std::make_shared<RecordingTelemetry>();
  const auto totals = std::make_shared<RunTotals>();
  int steps_seen = 0;
  MetricsSink sink(telemetry, std::make_shared<SimulatedClock>(), totals, [&](const StepResult&) { ++steps_seen; });
  graph::Context context;
  Trainer t;
  auto first = t.train(build(sampled({"ab.", "c."}))).value();
  first.at = {};
  REQUIRE(sink(first, context));
  StepResult empty{.at = {0, 1, 1}, .rows = {Row{.dropped = DropReason::empty}}};
  ++empty.dropped[DropReason::empty];
  REQUIRE(sink(empty, context));

  REQUIRE(telemetry->rows.size() == 2);
  CHECK(telemetry->rows[0].at("distill_loss").as_double() == 1.5);
  CHECK(telemetry->rows[0].at("num_prompts").to_number<int>() == 2);
  CHECK(telemetry->rows[0].at("num_tokens").to_number<int>() == 5);
  CHECK(telemetry->rows[0].at("learning_rate").as_double() == 4);
  CHECK(telemetry->rows[0].at("observed").as_object().at("teacher_latency_ms").as_double() == 4);
  CHECK(!telemetry->rows[0].contains("teacher_latency_ms"));
  CHECK(telemetry->rows[0].at("student_version").is_null());
  CHECK(telemetry->rows[1].at("distill_loss").is_null());
  CHECK(telemetry->rows[1].at("dropped").as_object().at("empty").to_number<int>() == 1);
  CHECK(telemetry->count("pipestill.distillation.step") == 2);
  CHECK(totals->steps == 2);
  CHECK(totals->optim_steps == 1);
  CHECK(totals->num_tokens == 5);
  CHECK(totals->dropped.total() == 1);
  CHECK(steps_seen == 2);
}

TEST_CASE("exact_match counts answers that are the reference and ended by themselves") {
  boost::json::object row{{"messages", {{{"role", "user"}, {"content", "q"}}, {{"role", "assistant"}, {"content", "42"}}}}};
  MemoryStore store({row, row, row, row}, "heldout");
  const auto clock = std::make_shared<SimulatedClock>();
  const auto evaluator = Evaluator::make(store, kRenderer.renderer, clock, {.max_tokens = 5, .in_flight = 4});
  REQUIRE(evaluator);
  const auto session = std::make_shared<ManualSampling>();
  Delivered<EvaluationResult> out;
  (*evaluator)->evaluate(session, {}, out.completion());
  REQUIRE(session->samples.size() == 4);
  CHECK(session->samples[0].request.params.temperature == 0);
  CHECK(session->samples[0].request.params.max_tokens == 5);
  CHECK(session->samples[0].request.prompt.to_ints() == letters("q>"));
  session->answer(answer_of("42."));
  session->answer(answer_of("42", StopReason::length));
  session->answer(answer_of(" 42."));
  session->answer(answer_of("43."));
  CHECK(out.value() == EvaluationResult{{{"exact_match", 0.25}}, 4});
}

TEST_CASE("an evaluation that cannot be made or fails says where") {
  MemoryStore empty({}, "heldout");
  const auto clock = std::make_shared<SimulatedClock>();
  CHECK(!Evaluator::make(empty, kRenderer.renderer, clock, {}));
  MemoryStore no_reference({{{"prompt", "q"}}}, "heldout");
  const auto refused = Evaluator::make(no_reference, kRenderer.renderer, clock, {});
  REQUIRE(!refused);
  CHECK(refused.error().message.find("heldout:1") != std::string::npos);

  MemoryStore store({{{"messages", {{{"role", "user"}, {"content", "q"}}, {{"role", "assistant"}, {"content", "42"}}}}}}, "heldout");
  CHECK(!Evaluator::make(store, kRenderer.renderer, clock, {.metrics = {"beauty"}}));
  const auto evaluator = *Evaluator::make(store, kRenderer.renderer, clock, {});
  const auto session = std::make_shared<ManualSampling>();
  Delivered<EvaluationResult> out;
  evaluator->evaluate(session, {}, out.completion());
  session->answer(fail(ErrorCode::backend_failed, "gone"));
  CHECK(out.error().message == "heldout:1: gone");
}

TEST_CASE("the evaluation stage reports where there is a snapshot, lets it go, and passes every batch on") {
  MemoryStore store({{{"messages", {{{"role", "user"}, {"content", "q"}}, {{"role", "assistant"}, {"content", "42"}}}}}}, "heldout");
  const auto clock = std::make_shared<SimulatedClock>();
  const auto evaluator = *Evaluator::make(store, kRenderer.renderer, clock, {});
  std::vector<EvaluationRecord> records;
  Evaluation stage(
      evaluator, [&](const EvaluationRecord& r) { records.push_back(r); }, {}, clock);
  graph::Context context;

  Delivered<StepResult> without;
  stage({.at = {0, 3, 3}}, context, without.completion());
  CHECK(!without.has());
  run_to_the_end(*clock);
  CHECK(without.value().at.step == 3);
  CHECK(records.empty());

  const auto snapshot = std::make_shared<ManualSampling>();
  Delivered<StepResult> with;
  stage({.at = {0, 4, 4}, .snapshot = snapshot}, context, with.completion());
  snapshot->answer(answer_of("42."));
  CHECK(with.value().at.step == 4);
  CHECK(!with.value().snapshot);
  REQUIRE(records.size() == 1);
  CHECK(records[0].step == 5);
  CHECK(records[0].result.metrics.at("exact_match") == 1);
}

TEST_CASE("an evaluation that a cut abandons is forgotten, and its batch passes, and one that the batch's own stop ends fails it") {
  MemoryStore store({{{"messages", {{{"role", "user"}, {"content", "q"}}, {{"role", "assistant"}, {"content", "42"}}}}}}, "heldout");
  const auto clock = std::make_shared<SimulatedClock>();
  const auto evaluator = *Evaluator::make(store, kRenderer.renderer, clock, {});
  for (const bool is_cut : {true, false}) {
    CAPTURE(is_cut);
    std::stop_source cut, own;
    std::vector<EvaluationRecord> records;
    Evaluation stage(
        evaluator, [&](const EvaluationRecord& r) { records.push_back(r); }, cut.get_token(), clock);
    graph::Context context;
    context.stop = own.get_token();
    const auto snapshot = std::make_shared<ManualSampling>();
    Delivered<StepResult> out;
    stage({.at = {0, 4, 4}, .snapshot = snapshot}, context, out.completion());
    CHECK(!out.has());
    (is_cut ? cut : own).request_stop();
    snapshot->answer(fail(ErrorCode::cancelled, "stopped"));
    if (is_cut) CHECK(out.value().at.step == 4);
    else CHECK(out.error().code == ErrorCode::cancelled);
    CHECK(records.empty());
  }
}

TEST_CASE("an embedder's callback that throws fails the batch and not the process") {
  MemoryStore store({{{"messages", {{{"role", "user"}, {"content", "q"}}, {{"role", "assistant"}, {"content", "42"}}}}}}, "heldout");
  const auto clock = std::make_shared<SimulatedClock>();
  const auto evaluator = *Evaluator::make(store, kRenderer.renderer, clock, {});
  Evaluation stage(
      evaluator, [](const EvaluationRecord&) { throw std::runtime_error("no disk"); }, {}, clock);
  graph::Context context;
  const auto snapshot = std::make_shared<ManualSampling>();
  Delivered<StepResult> out;
  stage({.at = {0, 4, 4}, .snapshot = snapshot}, context, out.completion());
  snapshot->answer(answer_of("42."));
  CHECK(out.error().code == ErrorCode::internal);
  CHECK(out.error().message == "on_evaluation threw an exception: no disk");
}
