#include "nodes/distillation.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "ports/dataset/memory_store.hpp"
#include "ports/sampling/simulated_sampling_client.hpp"
#include "ports/training/simulated_training_client.hpp"
#include "tests/nodes/fakes.hpp"
#include "tests/ports/support.hpp"
#include "tests/support/executors.hpp"
#include "tests/support/stand_in_tokenizer.hpp"

namespace {

using namespace pipestill;
using namespace pipestill::test;
using Status = RunSummary::Status;

boost::json::object conversation_row(std::size_t i) {
  return {{"messages",
           {{{"role", "user"}, {"content", "question " + std::to_string(i)}},
            {{"role", "assistant"}, {"content", "answer " + std::to_string(i % 3)}}}}};
}

std::vector<boost::json::object> rows_of(std::size_t n) {
  std::vector<boost::json::object> rows;
  for (std::size_t i = 0; i < n; ++i) rows.push_back(conversation_row(i));
  return rows;
}

/// Rows that only have a prompt, for methods that ask a model.
std::vector<boost::json::object> prompts_of(std::size_t n) {
  std::vector<boost::json::object> rows;
  for (std::size_t i = 0; i < n; ++i) rows.push_back({{"prompt", "question " + std::to_string(i)}});
  return rows;
}

/// One for all tests: a model's last handler may let go of its clock after the run has ended.
const std::shared_ptr<Clock>& real_time() {
  static const std::shared_ptr<Clock> clock = std::make_shared<SystemClock>();
  return clock;
}

/// A run over simulated models, whose sessions are counted.
struct Run {
  std::string method = "off_policy";
  std::vector<std::string> sets = {"training.batch_size=5", "training.epochs=2", "teacher.max_tokens=6", "training.lr_schedule=cosine"};
  bool is_simulated_time = true;
  std::size_t n_rows = 23;
  SimulatedSamplingOptions teacher{.latency = {.distribution = LatencyOptions::Distribution::uniform, .min_ms = 0, .max_ms = 2},
                                   .vocab_size = 128};
  SimulatedTrainingOptions student{.latency = {.distribution = LatencyOptions::Distribution::uniform, .min_ms = 0, .max_ms = 1},
                                   .snapshot_latency = {.distribution = LatencyOptions::Distribution::uniform, .min_ms = 0, .max_ms = 1},
                                   .vocab_size = 128};
  std::shared_ptr<SessionCounters> teachers = std::make_shared<SessionCounters>(), students = std::make_shared<SessionCounters>();
  std::shared_ptr<RecordingTelemetry> telemetry = std::make_shared<RecordingTelemetry>();
  DistillationOptions options{.executor = graph::Executor::small};
  DistillationPorts ports = {};  // those that are set replace the simulated ones

  RunSummary operator()() {
    if (method == "supervised") std::erase_if(sets, [](const std::string& s) { return s.starts_with("teacher."); });
    const auto recipe = recipe_of(method, sets);
    const std::shared_ptr<Clock> clock = is_simulated_time ? std::make_shared<SimulatedClock>() : real_time();
    teacher.counters = teachers;
    student.counters = students;
    auto all = ports;
    all.clock = clock;
    all.telemetry = telemetry;
    if (!all.teacher && method != "supervised") all.teacher = std::make_shared<SimulatedSamplingClient>(teacher, clock);
    if (!all.student) all.student = std::make_shared<SimulatedTrainingClient>(student, clock);
    if (!all.dataset) all.dataset = std::make_shared<MemoryStore>(method == "supervised" ? rows_of(n_rows) : prompts_of(n_rows), "train");
    if (!all.tokenizer) all.tokenizer = *Tokenizer::load("bytes");
    if (!all.renderer) all.renderer = *Renderer::make("role_colon", all.tokenizer);
    return distil(recipe, all, options);
  }
  void with_evaluation(int every) {
    sets.insert(sets.end(), {"evaluation.path=heldout.jsonl", "evaluation.every=" + std::to_string(every), "evaluation.max_tokens=4"});
    ports.evaluation = std::make_shared<MemoryStore>(rows_of(4), "heldout");
  }
  void check_closed(int opened_teachers = 1, int opened_students = 1) const {
    CHECK(teachers->opened == opened_teachers);
    CHECK(teachers->closed == opened_teachers);
    CHECK(teachers->dropped == 0);
    CHECK(students->opened == opened_students);
    CHECK(students->closed == opened_students);
    CHECK(students->dropped == 0);
  }
};

std::string text_of(const RunSummary& summary) {
  std::string text(name_of(summary.status));
  return summary.failure ? text + " at " + summary.failure->stage + ": " + summary.failure->error.message : text;
}

std::string digest_of(const RunSummary& summary) {
  INFO(text_of(summary));
  REQUIRE(summary.status == Status::finished);
  REQUIRE(summary.weights_digest);
  return *summary.weights_digest;
}

/// The determined columns of every step, as text.
std::vector<std::string> determined(const RecordingTelemetry& telemetry) {
  std::vector<std::string> rows;
  for (auto row : telemetry.rows) {
    row.erase("observed");
    std::ostringstream text;
    text << row;
    rows.push_back(text.str());
  }
  return rows;
}

/// A teacher that fails at "start" or "close", or whose session lacks what the client said ("capabilities").
class BadTeacher final : public SamplingClient {
 public:
  BadTeacher(std::string at, std::shared_ptr<SamplingClient> inner) : at_(std::move(at)), inner_(std::move(inner)) {}
  void start_session(ModelRef model, std::stop_token stop, Completion<std::unique_ptr<SamplingSession>> done) override {
    inner_->start_session(std::move(model), stop,
                          Completion<std::unique_ptr<SamplingSession>>([at = at_, done](Result<std::unique_ptr<SamplingSession>> s) {
                            if (at == "start") return done(fail(ErrorCode::backend_failed, "no teacher today"));
                            if (!s) return done(fail(s.error()));
                            done(std::make_unique<Session>(at, *std::move(s)));
                          }));
  }
  SamplingCapabilities capabilities() const override { return inner_->capabilities(); }

 private:
  class Session final : public SamplingSession {
   public:
    Session(std::string at, std::unique_ptr<SamplingSession> inner) : at_(std::move(at)), inner_(std::move(inner)) {
      able_ = inner_->capabilities();
      if (at_ == "capabilities") able_.has_prompt_logprobs = false;
    }
    void sample(SampleRequest request, std::stop_token stop, Completion<SampledSequence> done) override {
      inner_->sample(std::move(request), stop, std::move(done));
    }
    void compute_logprobs(ScoreRequest request, std::stop_token stop, Completion<Score> done) override {
      inner_->compute_logprobs(std::move(request), stop, std::move(done));
    }
    const SamplingCapabilities& capabilities() const override { return able_; }
    ModelUsage usage() const override { return inner_->usage(); }
    Result<void> close() override {
      auto closed = inner_->close();
      return at_ == "close" ? fail(ErrorCode::backend_failed, "the teacher would not go") : closed;
    }

   private:
    std::string at_;
    std::unique_ptr<SamplingSession> inner_;
    SamplingCapabilities able_;
  };
  std::string at_;
  std::shared_ptr<SamplingClient> inner_;
};

std::shared_ptr<SamplingClient> bad_teacher(Run& run, const std::string& at) {
  run.is_simulated_time = false;  // the wrapped client needs its clock before the run makes one
  run.teacher.counters = run.teachers;
  return std::make_shared<BadTeacher>(at, std::make_shared<SimulatedSamplingClient>(run.teacher, real_time()));
}

/// Refuses one row.
class BadStore final : public DatasetStore {
 public:
  std::uint64_t size() const override { return 20; }
  Result<DatasetRow> row(std::uint64_t index) override {
    if (index == 12) return fail(ErrorCode::backend_failed, "train:13: the disk is gone");
    return DatasetRow{prompts_of(20)[index], "train:" + std::to_string(index + 1)};
  }
  std::string fingerprint() const override { return ""; }
};

/// Renders what the letters renderer renders, and counts.
class CountingRenderer final : public Renderer {
 public:
  mutable std::atomic<int> prompts{0}, supervised{0};
  Result<ModelInput> build_generation_prompt(const std::vector<Message>& m, const PromptOptions& options) const override {
    return ++prompts, inner_.build_generation_prompt(m, options);
  }
  Result<SupervisedExample> build_supervised_example(const std::vector<Message>& m, TrainOnWhat on) const override {
    return ++supervised, inner_.build_supervised_example(m, on);
  }
  Stop stop_sequences() const override { return inner_.stop_sequences(); }
  Result<ParsedResponse> parse_response(const std::vector<Token>& tokens) const override { return inner_.parse_response(tokens); }
  std::string name() const override { return "counting"; }

 private:
  LetterRenderer inner_;
};

}  // namespace

TEST_CASE("off_policy ends in the same weights and metrics whatever the executor, the threads, the depth and the teacher's timing") {
  for (const std::string seed : {"1", "2", "30000000000000000000001"}) {
    Run reference;
    reference.sets.insert(reference.sets.end(), {"seed=" + seed, "engine.depth=1"});
    const auto digest = digest_of(reference());
    const auto metrics = determined(*reference.telemetry);
    CHECK(metrics.size() == 10);
    for (const auto& executor : executors()) {
      for (const int depth : {1, 2, 4, 8}) {
        Run run;
        run.is_simulated_time = executor.executor == graph::Executor::small && executor.threads == 1;
        run.options.executor = executor.executor;
        run.teacher.latency.seed = static_cast<std::uint64_t>(depth);
        run.sets.insert(run.sets.end(),
                        {"seed=" + seed, "engine.depth=" + std::to_string(depth), "engine.threads=" + std::to_string(executor.threads),
                         "teacher.in_flight=" + std::to_string(3 * depth)});
        INFO(executor.name << ", depth " << depth << ", seed " << seed);
        CHECK(digest_of(run()) == digest);
        CHECK(determined(*run.telemetry) == metrics);
        run.check_closed();
      }
    }
  }
}

TEST_CASE("on_policy ends in the same weights for its staleness, whatever the executor, the threads and the depth") {
  std::set<std::string> digests;
  for (const int staleness : {0, 1, 2}) {
    for (const std::string seed : {"1", "2", "3"}) {
      const std::vector<std::string> sets{"seed=" + seed, "engine.staleness=" + std::to_string(staleness)};
      Run reference{.method = "on_policy"};
      reference.sets.insert(reference.sets.end(), sets.begin(), sets.end());
      reference.sets.push_back("engine.depth=1");
      const auto digest = digest_of(reference());
      const auto metrics = determined(*reference.telemetry);
      CHECK(digests.insert(digest).second);  // another staleness is another run
      for (const auto& executor : executors()) {
        for (const int depth : {1, 2, 4, 8}) {
          Run run{.method = "on_policy"};
          run.is_simulated_time = executor.executor == graph::Executor::small && executor.threads == 1;
          run.options.executor = executor.executor;
          run.student.latency.seed = run.student.snapshot_latency.seed = static_cast<std::uint64_t>(depth);
          run.sets.insert(run.sets.end(), sets.begin(), sets.end());
          run.sets.insert(run.sets.end(), {"engine.depth=" + std::to_string(depth), "engine.threads=" + std::to_string(executor.threads)});
          INFO(executor.name << ", depth " << depth << ", staleness " << staleness << ", seed " << seed);
          CHECK(digest_of(run()) == digest);
          CHECK(determined(*run.telemetry) == metrics);
        }
      }
    }
  }
}

TEST_CASE("on_policy samples batch N with the student after max(0, N - staleness) batches") {
  Run run{.method = "on_policy"};
  run.sets.insert(run.sets.end(), {"engine.staleness=2", "engine.depth=4"});
  digest_of(run());
  for (std::size_t n = 0; n < run.telemetry->rows.size(); ++n)
    CHECK(run.telemetry->rows[n].at("student_version").to_number<std::size_t>() == (n < 2 ? 0 : n - 2));
}

TEST_CASE("supervised needs no teacher and ends in the same weights") {
  std::string digest;
  for (const auto& executor : executors()) {
    for (const int depth : {1, 2, 4, 8}) {
      Run run{.method = "supervised"};
      run.is_simulated_time = executor.executor == graph::Executor::small && executor.threads == 1;
      run.options.executor = executor.executor;
      run.sets.insert(run.sets.end(), {"engine.depth=" + std::to_string(depth), "engine.threads=" + std::to_string(executor.threads)});
      const auto summary = run();
      if (digest.empty()) digest = digest_of(summary);
      CHECK(digest_of(summary) == digest);
      CHECK(summary.teachers.empty());
      run.check_closed(0, 1);
    }
  }
}

TEST_CASE("another seed, another dataset order and another learning rate are other runs") {
  std::set<std::string> digests;
  for (const std::string set : {"seed=1", "seed=2", "dataset.shuffle=false", "training.learning_rate=0.5", "training.warmup_steps=3"}) {
    Run run;
    run.sets.push_back(set);
    CHECK(digests.insert(digest_of(run())).second);
  }
}

TEST_CASE("evaluations at any cadence change neither weights nor metrics") {
  for (const std::string method : {"off_policy", "on_policy", "supervised"}) {
    Run plain{.method = method};
    const auto digest = digest_of(plain());
    for (const int every : {0, 1, 3}) {
      Run run{.method = method};
      run.with_evaluation(every);
      std::vector<EvaluationRecord> records;
      run.options.on_evaluation = [&](const EvaluationRecord& r) { records.push_back(r); };
      const auto summary = run();
      CHECK(digest_of(summary) == digest);
      CHECK(determined(*run.telemetry) == determined(*plain.telemetry));
      CHECK(summary.eval_before);
      CHECK(summary.eval_after);
      std::vector<std::uint64_t> steps;
      for (const auto& r : records) steps.push_back(r.step);
      if (every == 0) CHECK(steps == std::vector<std::uint64_t>{0, 10});
      if (every == 3) CHECK(steps == std::vector<std::uint64_t>{0, 3, 6, 9, 10});
      if (every == 1) CHECK(steps.size() == 12);
      run.check_closed(method == "supervised" ? 0 : 1);
    }
  }
}

TEST_CASE("the summary adds up, and its JSON has the documented keys") {
  Run run;
  run.with_evaluation(0);
  const auto summary = run();
  digest_of(summary);
  CHECK(summary.totals.steps == 10);
  CHECK(summary.totals.optim_steps == 10);
  CHECK(summary.totals.num_prompts == 46);
  std::uint64_t tokens = 0;
  for (const auto& row : run.telemetry->rows) tokens += row.at("num_tokens").to_number<std::uint64_t>();
  CHECK(summary.totals.num_tokens == tokens);
  CHECK(summary.tokens_per_s() == doctest::Approx(static_cast<double>(tokens) / summary.wall_s));
  REQUIRE(summary.overlap_busy);
  CHECK(*summary.overlap_busy > 0);
  CHECK(*summary.overlap_busy <= 1);
  CHECK(summary.nondeterminism.empty());

  const auto json = summary.to_json();
  CHECK(json.at("status").as_string() == "finished");
  CHECK(json.at("deterministic").as_bool());
  CHECK(json.at("eval").as_object().at("after").as_object().contains("exact_match"));
  for (const char* stage : {"teacher_inference", "datum_builder", "forward_backward", "metrics_sink"}) {
    CHECK(json.at("stages").as_object().at(stage).as_object().at("messages").to_number<int>() == 10);
  }
  CHECK(json.at("models").as_object().at("teacher").as_object().at("compute_s").as_double() > 0);
  CHECK(json.at("bottleneck").is_string());
  CHECK(json.at("failure").is_null());
  CHECK(json.at("identity").as_object().contains("cpu"));
}

TEST_CASE("the bottleneck is the stage that was busy longest") {
  Run slow_teacher;
  slow_teacher.teacher.latency = {.mean_ms = 50};
  CHECK(slow_teacher().bottleneck() == "teacher_inference");
  Run slow_student;
  slow_student.student.latency = {.mean_ms = 50};
  CHECK(slow_student().bottleneck() == "forward_backward");
}

TEST_CASE("the teacher overlaps the student: the deeper run is faster, and no slower than its slower model") {
  const auto wall = [](int depth) {
    Run run;
    run.teacher.latency = {.mean_ms = 10};
    run.student.latency = {.mean_ms = 10};
    run.sets.push_back("engine.depth=" + std::to_string(depth));
    return run().wall_s;
  };
  CHECK(wall(1) == doctest::Approx(0.200));
  CHECK(wall(4) == doctest::Approx(0.110));
}

TEST_CASE("events and metrics are emitted once a batch, stage detail only where somebody wants it") {
  Run run;
  digest_of(run());
  CHECK(run.telemetry->count("pipestill.distillation.teacher_inference") == 10);
  CHECK(run.telemetry->count("pipestill.distillation.forward_backward") == 10);
  CHECK(run.telemetry->count("pipestill.distillation.step") == 10);
  CHECK(run.telemetry->spans.empty());
  CHECK(run.telemetry->events.size() == 30);

  Run detailed;
  detailed.telemetry->wants_detail = true;
  digest_of(detailed());
  CHECK(detailed.telemetry->count("pipestill.stage.forward_backward.start") == 10);
  CHECK(detailed.telemetry->count("pipestill.stage.forward_backward.stop") == 10);
  CHECK(detailed.telemetry->count("pipestill.stage.init_teacher.stop") == 1);
  CHECK(detailed.telemetry->count("pipestill.stage.cleanup_student.stop") == 1);
  CHECK(determined(*detailed.telemetry) == determined(*run.telemetry));
}

TEST_CASE("the recipe's renderer and tokenizer are used, once a row") {
  Run run;
  const auto renderer = std::make_shared<CountingRenderer>();
  run.ports.renderer = renderer;
  run.ports.tokenizer = std::make_shared<LetterTokenizer>();
  digest_of(run());
  CHECK(renderer->prompts == 46);
  CHECK(renderer->supervised == 0);
  Run supervised{.method = "supervised"};
  const auto other = std::make_shared<CountingRenderer>();
  supervised.ports.renderer = other;
  supervised.ports.tokenizer = std::make_shared<LetterTokenizer>();
  digest_of(supervised());
  CHECK(other->supervised == 46);
}

TEST_CASE("whatever stage fails, the run says where, keeps what came before, exports nothing and closes both sessions") {
  struct Failing {
    std::string stage, message;
    std::uint64_t seq;
    std::function<void(Run&)> sabotage;
  };
  const std::vector<Failing> all{
      {"batch_source", "train:13", 2, [](Run& run) { run.ports.dataset = std::make_shared<BadStore>(); }},
      {"teacher_inference", "train:1: ", 0, [](Run& run) { run.teacher.error_rate = 1; }},
      {"forward_backward", "fail_at_step", 3, [](Run& run) { run.student.fail_at_step = 3; }},
      {"metrics_sink", "the embedder's own mistake", 4,
       [](Run& run) {
         run.options.on_step = [](const StepResult& r) {
           if (r.at.step == 4) throw std::runtime_error("the embedder's own mistake");
         };
       }},
  };
  for (const auto& executor : executors()) {
    for (const auto& failing : all) {
      INFO(failing.stage << " on " << executor.name);
      Run run;
      run.is_simulated_time = executor.executor == graph::Executor::small && executor.threads == 1;
      run.options.executor = executor.executor;
      run.sets.insert(run.sets.end(), {"dataset.shuffle=false", "engine.threads=" + std::to_string(executor.threads)});
      failing.sabotage(run);
      const auto directory = std::filesystem::temp_directory_path() / ("pipestill-failed-" + std::to_string(::getpid()));
      run.options.model_directory = directory;
      const auto summary = run();
      CHECK(summary.status == Status::failed);
      REQUIRE(summary.failure);
      CHECK(summary.failure->stage == failing.stage);
      CHECK(summary.failure->error.message.find(failing.message) != std::string::npos);
      REQUIRE(summary.failure->seq);
      CHECK(summary.failure->seq->value == failing.seq);
      const auto metrics = determined(*run.telemetry);
      CHECK(metrics.size() == failing.seq + (failing.stage == "metrics_sink" ? 1 : 0));
      CHECK(!summary.weights_digest);
      CHECK(!std::filesystem::exists(directory));
      run.check_closed();
    }
  }
}

TEST_CASE("a failure behind the checkpoint stage ends the run while a later batch waits there for its turn") {
  const pipestill::testing::TempDir directory;
  Run run{.is_simulated_time = false};
  run.sets.insert(run.sets.end(), {"engine.threads=3", "checkpoint.every=1"});
  run.options.checkpoints = CheckpointStore(directory.path(), {});
  run.options.on_step = [&](const StepResult& r) {
    if (r.at.step != 2) return;
    // The checkpoint after this batch waits for its record, and that after the next one for the first: nobody but the cut can end that.
    for (int i = 0; i < 10'000 && run.telemetry->count("pipestill.distillation.checkpoint_wait") == 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    throw std::runtime_error("the embedder's own mistake");
  };
  const auto summary = run();
  CHECK(run.telemetry->count("pipestill.distillation.checkpoint_wait") > 0);
  REQUIRE(summary.failure);
  CHECK(summary.failure->stage == "metrics_sink");
  REQUIRE(summary.failure->seq);
  CHECK(summary.failure->seq->value == 2);
  run.check_closed();
}

TEST_CASE("a teacher that cannot be opened is not closed, and the student is not opened") {
  Run run;
  run.ports.teacher = bad_teacher(run, "start");
  const auto summary = run();
  REQUIRE(summary.failure);
  CHECK(summary.failure->stage == "init_teacher");
  CHECK(summary.failure->error.message == "no teacher today");
  CHECK(run.students->opened == 0);
  CHECK(!summary.weights_digest);
}

TEST_CASE("a teacher that turns out to lack what its client promised is closed again") {
  Run run{.method = "on_policy"};
  run.ports.teacher = bad_teacher(run, "capabilities");
  const auto summary = run();
  REQUIRE(summary.failure);
  CHECK(summary.failure->stage == "init_teacher");
  CHECK(summary.failure->error.code == ErrorCode::invalid_input);
  run.check_closed(1, 0);
}

TEST_CASE("what goes wrong in closing is reported, and does not keep the other session open") {
  Run run;
  run.ports.teacher = bad_teacher(run, "close");
  const auto summary = run();
  CHECK(summary.status == Status::failed);
  REQUIRE(summary.close_failures.size() == 1);
  CHECK(summary.close_failures[0].stage == "cleanup_teacher");
  CHECK(summary.weights_digest);  // the training was done
  run.check_closed();
}

TEST_CASE("what the recipe asks and the models cannot do is refused before anything is opened") {
  Run run;
  run.n_rows = 0;
  CHECK(run().failure->error.code == ErrorCode::invalid_input);
  CHECK(run.teachers->opened == 0);
  Run no_dataset_for_evaluation;
  no_dataset_for_evaluation.with_evaluation(1);
  no_dataset_for_evaluation.ports.evaluation = std::make_shared<MemoryStore>(prompts_of(2), "heldout");
  const auto summary = no_dataset_for_evaluation();
  CHECK(summary.failure->stage == "evaluation");
  CHECK(no_dataset_for_evaluation.teachers->opened == 0);
}

TEST_CASE("dropped rows are counted, and a batch that loses all of them makes no optimizer step") {
  Run run;
  run.teacher.error_rate = 0.5;
  run.sets.insert(run.sets.end(), {"teacher.on_error=drop", "training.batch_size=1", "training.epochs=1"});
  const auto summary = run();
  digest_of(summary);
  const auto dropped = summary.totals.dropped[DropReason::error];
  CHECK(dropped > 0);
  CHECK(dropped < 23);
  CHECK(summary.totals.steps == 23);
  CHECK(summary.totals.optim_steps == 23 - summary.totals.dropped.total());
  for (const auto& row : run.telemetry->rows) {
    const bool is_empty = row.at("num_tokens").to_number<int>() == 0;
    CHECK(row.at("distill_loss").is_null() == is_empty);
  }
}

namespace {

/// Of 23 prompts every fourth is none.
std::vector<boost::json::object> prompts_with_bad() {
  auto rows = prompts_of(23);
  for (std::size_t i = 1; i < rows.size(); i += 4) rows[i] = {{"prompt", i}};
  return rows;
}

}  // namespace

TEST_CASE("skipped rows are counted and told, and change nothing with the schedule") {
  for (const std::string batch_size : {"5", "1"}) {
    std::optional<std::string> digest;
    std::vector<std::string> metrics;
    for (const auto& executor : executors()) {
      for (const int depth : {1, 4}) {
        Run run;
        run.is_simulated_time = executor.executor == graph::Executor::small && executor.threads == 1;
        run.options.executor = executor.executor;
        run.ports.dataset = std::make_shared<MemoryStore>(prompts_with_bad(), "train");
        run.sets.insert(run.sets.end(), {"dataset.on_bad_row=skip", "training.batch_size=" + batch_size, "engine.depth=" + std::to_string(depth),
                                         "engine.threads=" + std::to_string(executor.threads)});
        INFO(executor.name << ", depth " << depth << ", batch size " << batch_size);
        const auto summary = run();
        if (!digest) {
          digest = digest_of(summary);
          metrics = determined(*run.telemetry);
        }
        CHECK(digest_of(summary) == *digest);
        CHECK(determined(*run.telemetry) == metrics);
        CHECK(summary.totals.dropped[DropReason::bad] == 12);  // 6 in each of 2 epochs
        CHECK(summary.totals.num_prompts == 46);
        CHECK(summary.totals.steps == (batch_size == "1" ? 46 : 10));
        if (batch_size == "1") CHECK(summary.totals.optim_steps + summary.totals.dropped.total() == 46);
        CHECK(run.telemetry->count("pipestill.distillation.bad_row") == 12);
      }
    }
  }
  Run failing;
  failing.ports.dataset = std::make_shared<MemoryStore>(prompts_with_bad(), "train");
  CHECK(text_of(failing()).find("train:") != std::string::npos);
}

TEST_CASE("a mix ends in the same weights whatever the schedule, and is a run of its own") {
  const auto recipe_of_mix = [](int first, int second, std::size_t depth, std::size_t threads) {
    const auto section = [](int groups) { return R"({"path": "m.jsonl", "groups_per_batch": )" + std::to_string(groups) + "}"; };
    const std::vector<Override> sets{{"engine.depth", std::to_string(depth)}, {"engine.threads", std::to_string(threads)}};
    auto recipe = parse_recipe(R"({"method": "off_policy", "seed": 7, "dataset": [)" + section(first) + ", " + section(second) +
                                   R"(], "teacher": {"client": "simulated", "on_empty": "drop", "max_tokens": 6}, "student": {"client": "simulated"},
                                   "training": {"batch_size": 5, "epochs": 2}})",
                               "recipe.json", ".", sets);
    if (!recipe) FAIL(recipe.error().message);
    return *recipe;
  };
  const auto run_mix = [](const Recipe& recipe, graph::Executor executor) {
    DistillationPorts ports;
    ports.clock = real_time();
    ports.teacher = std::make_shared<SimulatedSamplingClient>(SimulatedSamplingOptions{.vocab_size = 128}, ports.clock);
    ports.student = std::make_shared<SimulatedTrainingClient>(SimulatedTrainingOptions{.vocab_size = 128}, ports.clock);
    ports.dataset = std::make_shared<MemoryStore>(prompts_of(11), "first");
    ports.mixed = {std::make_shared<MemoryStore>(prompts_of(4), "second")};
    ports.tokenizer = *Tokenizer::load("bytes");
    ports.renderer = *Renderer::make("role_colon", ports.tokenizer);
    const auto summary = distil(recipe, ports, {.executor = executor});
    CHECK(summary.totals.steps == 2 * (recipe.dataset.groups_per_batch == 3 ? 4 : 6));
    CHECK(summary.identity.at("dataset") == ports.dataset->fingerprint());
    CHECK(summary.identity.at("dataset.1") == ports.mixed[0]->fingerprint());
    return digest_of(summary);
  };
  const auto digest = run_mix(recipe_of_mix(3, 2, 1, 1), graph::Executor::small);
  for (const auto& executor : executors()) {
    for (const std::size_t depth : {1u, 4u}) CHECK(run_mix(recipe_of_mix(3, 2, depth, executor.threads), executor.executor) == digest);
  }
  CHECK(run_mix(recipe_of_mix(2, 3, 1, 1), graph::Executor::small) != digest);
}

namespace {

/// Says what tokenizer its model has.
class KnownTokenizer final : public SamplingClient {
 public:
  KnownTokenizer(std::shared_ptr<SamplingClient> inner, Result<std::optional<std::string>> fingerprint)
      : inner_(std::move(inner)), fingerprint_(std::move(fingerprint)) {}
  void start_session(ModelRef model, std::stop_token stop, Completion<std::unique_ptr<SamplingSession>> done) override {
    inner_->start_session(std::move(model), stop, std::move(done));
  }
  Result<std::optional<std::string>> tokenizer_fingerprint(const ModelRef&) const override { return fingerprint_; }
  SamplingCapabilities capabilities() const override { return inner_->capabilities(); }

 private:
  std::shared_ptr<SamplingClient> inner_;
  Result<std::optional<std::string>> fingerprint_;
};

/// Cannot open a model.
class NoTeacher final : public SamplingClient {
 public:
  void start_session(ModelRef, std::stop_token, Completion<std::unique_ptr<SamplingSession>> done) override {
    real_time()->call_at(real_time()->now(), [done] { done(fail(ErrorCode::backend_failed, "no such model")); });
  }
  SamplingCapabilities capabilities() const override { return {.is_seeded = true, .is_deterministic = true, .has_logprobs = true, .has_prompt_logprobs = true}; }
};

/// Two datasets, of which the second has a teacher and a renderer of its own, over simulated models whose sessions are counted.
struct MixWithTwoTeachers {
  std::string method = "off_policy", own_teacher = R"({"teacher_model": "second", "max_tokens": 4, "temperature": 0.7})", own_renderer = R"("role_tokens")";
  std::size_t depth = 1, threads = 1;
  graph::Executor executor = graph::Executor::small;
  std::shared_ptr<SessionCounters> first = std::make_shared<SessionCounters>(), second = std::make_shared<SessionCounters>(), students = std::make_shared<SessionCounters>();
  std::shared_ptr<SamplingClient> second_teacher = nullptr;  ///< null: a simulated one
  std::shared_ptr<RecordingTelemetry> telemetry = std::make_shared<RecordingTelemetry>();

  Recipe recipe() const {
    const std::vector<Override> sets{{"engine.depth", std::to_string(depth)}, {"engine.threads", std::to_string(threads)}};
    auto parsed = parse_recipe(R"({"method": ")" + method + R"(", "seed": 7, "dataset": [{"path": "a", "groups_per_batch": 3},
                                   {"path": "b", "groups_per_batch": 2, "teacher": )" + own_teacher + R"(, "renderer": )" + own_renderer +
                                   R"(}], "teacher": {"client": "simulated", "on_empty": "drop", "max_tokens": 6}, "student": {"client": "simulated"},
                                   "training": {"batch_size": 5, "epochs": 2}})",
                               "recipe.json", ".", sets);
    if (!parsed) FAIL(parsed.error().message);
    return *parsed;
  }
  DistillationPorts ports() const {
    const auto teacher = [](const auto& counters, double mean_ms) {
      return std::make_shared<SimulatedSamplingClient>(
          SimulatedSamplingOptions{.latency = {.distribution = LatencyOptions::Distribution::uniform, .min_ms = 0, .max_ms = 2 * mean_ms}, .vocab_size = 128, .counters = counters}, real_time());
    };
    DistillationPorts ports{.teacher = teacher(first, 1), .telemetry = telemetry, .clock = real_time()};
    ports.student = std::make_shared<SimulatedTrainingClient>(SimulatedTrainingOptions{.vocab_size = 128, .counters = students}, ports.clock);
    ports.dataset = std::make_shared<MemoryStore>(prompts_of(11), "first");
    ports.mixed = {std::make_shared<MemoryStore>(prompts_of(4), "second")};
    ports.tokenizer = *Tokenizer::load("bytes");
    ports.renderer = *Renderer::make("role_colon", ports.tokenizer);
    ports.dataset_renderers = {nullptr, *Renderer::make("role_tokens", ports.tokenizer)};
    ports.more_teachers = {second_teacher ? second_teacher : teacher(second, 0.5)};
    return ports;
  }
  RunSummary operator()() const { return distil(recipe(), ports(), {.executor = executor}); }
  void check_closed(int of_first, int of_second, int of_students) const {
    CHECK(first->opened == of_first);
    CHECK(first->closed == of_first);
    CHECK(second->opened == of_second);
    CHECK(second->closed == of_second);
    CHECK(students->opened == of_students);
    CHECK(students->closed == of_students);
    CHECK(first->dropped + second->dropped + students->dropped == 0);
  }
};

}  // namespace

TEST_CASE("a mix asks two teachers, each opened and closed once, and ends in the same weights whatever the schedule") {
  for (const std::string method : {"off_policy", "on_policy"}) {
    MixWithTwoTeachers reference{.method = method};
    const auto whole = reference();
    const auto digest = digest_of(whole);
    reference.check_closed(1, 1, 1);
    CHECK(whole.teachers.size() == 2);
    CHECK(whole.to_json().at("models").as_object().contains("teacher.1"));
    for (const auto& executor : executors()) {
      for (const std::size_t depth : {1u, 2u, 4u}) {
        MixWithTwoTeachers run{.method = method, .depth = depth, .threads = executor.threads, .executor = executor.executor};
        CHECK(digest_of(run()) == digest);
        CHECK(determined(*run.telemetry) == determined(*reference.telemetry));
        run.check_closed(1, 1, 1);
      }
    }
    // Each of the two things that the second dataset has of its own counts.
    CHECK(digest_of(MixWithTwoTeachers{.method = method, .own_teacher = R"({"teacher_model": "second", "max_tokens": 4})"}()) != digest);
    MixWithTwoTeachers one_renderer{.method = method};
    auto ports = one_renderer.ports();
    ports.dataset_renderers.clear();
    CHECK(digest_of(distil(one_renderer.recipe(), ports, {.executor = graph::Executor::small})) != digest);
  }
}

TEST_CASE("a student that does not repeat itself draws once a run, and from what it drew the run is made again") {
  const pipestill::testing::TempDir dir;
  using Missing = StudentSampleStore::Missing;
  std::size_t drawn = 0;
  const auto digest_with = [&](const std::string& run, Missing missing, std::size_t depth, const std::string& temperature) {
    MixWithTwoTeachers mix{.method = "on_policy", .own_teacher = R"({"temperature": )" + temperature + "}", .depth = depth, .threads = 2, .executor = executors().back().executor};
    auto recipe = mix.recipe();
    recipe.engine.staleness = 1;
    auto ports = mix.ports();
    ports.student = std::make_shared<SimulatedTrainingClient>(SimulatedTrainingOptions{.vocab_size = 128, .repeatable = false}, ports.clock);
    std::shared_ptr<AnswerStore> store;
    if (!run.empty()) {
      ports.student_samples = [&]() -> Result<std::shared_ptr<const StudentSampleStore>> {
        store = missing == Missing::asked ? AnswerStore::open(dir.path() / "a.sqlite", Durability::process).value() : AnswerStore::open_read_only(dir.path() / "a.sqlite").value();
        return std::make_shared<const StudentSampleStore>(store, StudentSampleStore::Names{{0, run}}, missing);
      };
    }
    const auto summary = distil(recipe, ports, {.executor = mix.executor});
    drawn = store ? store->counts().committed : 0;
    CHECK(summary.nondeterminism.empty() == (missing == Missing::refused));
    return digest_of(summary);
  };
  for (const std::string temperature : {"1", "0"}) {
    CAPTURE(temperature);
    const auto name = "run at " + temperature;
    const auto digest = digest_with(name, Missing::asked, 4, temperature);
    CHECK(drawn == 8 * 5 - 2);  // eight batches of five, of which the last of each epoch takes one row fewer from the first dataset
    CHECK(digest_with(name, Missing::asked, 1, temperature) == digest);
    CHECK(drawn == 0);
    CHECK(digest_with(name, Missing::refused, 2, temperature) == digest);
    CHECK(digest_with("another at " + temperature, Missing::asked, 4, temperature) != digest);
    CHECK(digest_with("", Missing::asked, 4, temperature) != digest);
  }
}

TEST_CASE("a request that failed has failed for good: the batch is computed again without an answer to it, and comes to the same") {
  const pipestill::testing::TempDir dir;
  for (const std::string method : {"off_policy", "on_policy"}) {
    const auto file = dir.path() / (method + ".sqlite");
    const auto computed = [&](double error_rate, std::shared_ptr<Ledger> ledger) {
      Run run{.method = method};
      run.sets.insert(run.sets.end(), {"teacher.on_error=drop", "engine.depth=3"});
      run.teacher.error_rate = error_rate;
      run.ports.ledger = ledger;
      const auto summary = run();
      REQUIRE(ledger->close());
      INFO(text_of(summary));
      REQUIRE(summary.status == Status::finished);
      return std::pair(*summary.weights_digest, summary.totals.dropped[DropReason::error]);
    };
    const auto first = computed(0.3, Ledger::create(file, {}).value());
    CHECK(first.second > 0);
    CHECK(computed(0, Ledger::open(file, 0).value()) == first);  // the backend is well again, and the ledger's rows are expectations
  }
}

TEST_CASE("where several teachers share a store, one that asks for more durability decides") {
  std::vector<Recipe::Teacher> teachers(3);
  teachers[1].durability = Durability::power;
  teachers[1].key = "dataset[1].teacher";
  CHECK(strictest_durability(teachers, [](const Recipe::Teacher&) { return true; }) == Durability::power);
  CHECK(strictest_durability(teachers, [](const Recipe::Teacher& teacher) { return teacher.key == "teacher"; }) == Durability::process);  // its store is another
}

TEST_CASE("a second teacher that does not open closes the first one, and is named") {
  MixWithTwoTeachers run{.second_teacher = std::make_shared<NoTeacher>()};
  const auto summary = run();
  REQUIRE(summary.failure);
  CHECK(text_of(summary) == "failed at init_teacher.1: no such model");
  run.check_closed(1, 0, 0);
}

TEST_CASE("a second teacher with another tokenizer is refused by its own key, before anything is opened") {
  MixWithTwoTeachers run;
  run.second_teacher = std::make_shared<KnownTokenizer>(run.ports().more_teachers[0], std::optional<std::string>("5ea"));
  const auto summary = run();
  REQUIRE(summary.failure);
  CHECK(summary.failure->error.message.find("dataset[1].teacher.teacher_model: the tokenizer of second has the fingerprint 5ea") == 0);
  run.check_closed(0, 0, 0);
}

TEST_CASE("a mix without a port for its second teacher is refused") {
  MixWithTwoTeachers run;
  auto ports = run.ports();
  ports.more_teachers.clear();
  const auto summary = distil(run.recipe(), ports, {.executor = graph::Executor::small});
  REQUIRE(summary.failure);
  CHECK(summary.failure->error.message.find("and of a mix every one that it names") != std::string::npos);
  run.check_closed(0, 0, 0);
}

TEST_CASE("the adapters of a mix are made from the recipe: its second teacher and renderer too") {
  const auto directory = std::filesystem::temp_directory_path() / "pipestill-mix-test";
  std::filesystem::create_directories(directory);
  for (const char* name : {"a.jsonl", "b.jsonl"}) std::ofstream(directory / name) << "{\"prompt\":\"p\"}\n";
  const auto recipe = parse_recipe(R"({"method": "off_policy", "dataset": [{"path": "a.jsonl", "groups_per_batch": 1},
      {"path": "b.jsonl", "groups_per_batch": 1, "teacher": {"vocab_size": 99}, "renderer": "role_tokens"}],
      "teacher": {"client": "simulated", "vocab_size": 98}, "student": {"client": "simulated"}, "training": {"batch_size": 2}})", "recipe.json", directory, {});
  REQUIRE(recipe);
  const auto ports = make_ports(*recipe, nullptr, nullptr);
  if (!ports) FAIL(ports.error().message);
  CHECK(ports->more_teachers.size() == 1);
  REQUIRE(ports->dataset_renderers.size() == 2);
  CHECK(ports->dataset_renderers[0] == nullptr);
  REQUIRE(ports->dataset_renderers[1]);
  CHECK(describe_flow(*recipe).find("init_teacher.1") != std::string::npos);
  CHECK(plan_run(*recipe, *ports));
  std::filesystem::remove_all(directory);
}

TEST_CASE("a teacher with another tokenizer than the student's is refused before anything is opened, by every method that has a teacher") {
  const auto students = (*Tokenizer::load("bytes"))->fingerprint();
  for (const std::string method : {"off_policy", "on_policy"}) {
    const auto outcome = [&](Result<std::optional<std::string>> fingerprint, int opened) {
      Run run{.method = method, .is_simulated_time = false};
      run.sets.push_back("teacher.teacher_model=big");
      run.teacher.counters = run.teachers;
      run.ports.teacher = std::make_shared<KnownTokenizer>(std::make_shared<SimulatedSamplingClient>(run.teacher, real_time()), std::move(fingerprint));
      auto summary = run();
      run.check_closed(opened, opened);
      return summary;
    };
    digest_of(outcome(std::optional(students), 1));
    digest_of(outcome(std::nullopt, 1));
    const auto strange = outcome(std::optional<std::string>("5ea"), 0);
    REQUIRE(strange.failure);
    CHECK(strange.failure->error.code == ErrorCode::invalid_input);
    CHECK(strange.failure->error.message ==
          "teacher.teacher_model: the tokenizer of big has the fingerprint 5ea, and the student's, student.tokenizer bytes, " + students + ": method " +
              method + " shares tokens between the two, so they must have the same tokenizer");
    const auto broken = outcome(fail(ErrorCode::invalid_input, "chars.json is damaged"), 0);
    REQUIRE(broken.failure);
    CHECK(broken.failure->error.message.find("cannot be compared with the student's: chars.json is damaged") != std::string::npos);
  }
}

TEST_CASE("rows that the renderer cannot write are skipped and counted where bad rows are, and change nothing with the schedule") {
  namespace json = boost::json;
  const auto thinking = json::parse(R"([{"type":"thinking","thinking":"t"},{"type":"text","text":"a"}])");
  const auto rows_for = [&](const std::string& method) {
    std::vector<json::object> rows;
    for (std::size_t i = 0; i < 23; ++i) {
      const json::object question{{"role", "user"}, {"content", "q" + std::to_string(i)}};
      const json::object answer{{"role", "assistant"}, {"content", i % 4 == 1 ? thinking : json::value("a")}};
      rows.push_back({{"messages", method == "supervised" ? json::array{question, answer} : json::array{question, answer, question}}});
    }
    return rows;
  };
  for (const std::string method : {"off_policy", "on_policy", "supervised"}) {
    std::optional<std::string> digest;
    for (const auto& executor : executors()) {
      for (const int depth : {1, 4}) {
        Run run{.method = method, .is_simulated_time = false};
        run.options.executor = executor.executor;
        run.ports.dataset = std::make_shared<MemoryStore>(rows_for(method), "train");
        run.sets.insert(run.sets.end(), {"dataset.on_bad_row=skip", "engine.depth=" + std::to_string(depth), "engine.threads=" + std::to_string(executor.threads)});
        INFO(method << ", " << executor.name << ", depth " << depth);
        const auto summary = run();
        if (!digest) digest = digest_of(summary);
        CHECK(digest_of(summary) == *digest);
        CHECK(summary.totals.dropped[DropReason::bad] == 12);
        CHECK(run.telemetry->count("pipestill.distillation.bad_row") == 12);
      }
    }
  }
}

TEST_CASE("a student that knows fewer tokens than its tokenizer makes is refused before anything is opened") {
  class SmallVocabulary final : public TrainingClient {
   public:
    SmallVocabulary(std::shared_ptr<TrainingClient> inner, std::optional<std::size_t> size) : inner_(std::move(inner)), size_(size) {}
    void start_session(ModelRef model, std::uint64_t seed, std::stop_token stop, Completion<std::unique_ptr<TrainingSession>> done) override {
      inner_->start_session(std::move(model), seed, stop, std::move(done));
    }
    Result<std::optional<std::size_t>> vocab_size(const ModelRef&) const override { return size_; }
    TrainingCapabilities capabilities() const override { return inner_->capabilities(); }

   private:
    std::shared_ptr<TrainingClient> inner_;
    std::optional<std::size_t> size_;
  };
  const auto known = (*Tokenizer::load("bytes"))->vocab_size();
  const auto outcome = [](std::optional<std::size_t> size, int opened) {
    Run run{.is_simulated_time = false};
    run.sets.push_back("student.model=small");
    run.student.counters = run.students;
    run.ports.student = std::make_shared<SmallVocabulary>(std::make_shared<SimulatedTrainingClient>(run.student, real_time()), size);
    auto summary = run();
    run.check_closed(opened, opened);
    return summary;
  };
  digest_of(outcome(std::nullopt, 1));
  digest_of(outcome(known, 1));
  const auto refused = outcome(known - 1, 0);
  REQUIRE(refused.failure);
  CHECK(refused.failure->error.message == "student.model: small knows " + std::to_string(known - 1) + " tokens, and student.tokenizer bytes makes " + std::to_string(known) +
                                              "; take the model's own tokenizer, or a model with at least as many");
}

TEST_CASE("what a row's messages hold reaches the renderer, and what it cannot write is an error with the row's place") {
  namespace json = boost::json;
  const auto failure_of = [](const std::string& method, const char* answer) {
    Run run{.method = method};
    const auto row = json::parse(std::string(R"({"messages":[{"role":"user","content":"q"},)") + answer +
                                 (method == "supervised" ? "]}" : R"(,{"role":"user","content":"r"}]})"));
    run.ports.dataset = std::make_shared<MemoryStore>(std::vector<json::object>{row.as_object()}, "train");
    const auto summary = run();
    run.check_closed(method == "supervised" ? 0 : 1);
    return summary.failure ? summary.failure->error : Error{ErrorCode::internal, text_of(summary)};
  };
  for (const std::string method : {"off_policy", "on_policy", "supervised"}) {
    const auto thinking = failure_of(method, R"({"role":"assistant","content":[{"type":"thinking","thinking":"t"},{"type":"text","text":"a"}]})");
    CHECK(thinking.code == ErrorCode::invalid_input);
    CHECK(thinking.message.find("train:1: the renderer role_colon writes a message of role \"assistant\" only from a text") == 0);
  }
  const auto marked = failure_of("supervised", R"({"role":"assistant","content":"a","trainable":true})");
  CHECK(marked.code == ErrorCode::invalid_input);
  CHECK(marked.message.find("train:1: trainable marks: only train_on_what customized takes `trainable`") == 0);
  CHECK(failure_of("off_policy", R"({"role":"assistant","content":"a","trainable":true})").message == "finished");
}

TEST_CASE("a row's tool calls and thinking are trained on where the format has them") {
  namespace json = boost::json;
  const auto digest_with = [](const char* answer) {
    Run run{.method = "supervised"};
    const auto row = json::parse(std::string(R"({"messages":[{"role":"user","content":"q"},)") + answer + "]}");
    run.ports.dataset = std::make_shared<MemoryStore>(std::vector<json::object>{row.as_object()}, "train");
    run.ports.tokenizer = std::make_shared<StandInTokenizer>(std::vector<std::string>{"<|im_start|>", "<|im_end|>"}, std::vector<std::string>{});
    run.ports.renderer = *Renderer::make("qwen3", run.ports.tokenizer);
    return digest_of(run());
  };
  const std::set<std::string> different{
      digest_with(R"({"role":"assistant","content":"a"})"),
      digest_with(R"({"role":"assistant","content":[{"type":"thinking","thinking":"t"},{"type":"text","text":"a"}]})"),
      digest_with(R"({"role":"assistant","content":"a","tool_calls":[{"type":"function","id":"1","function":{"name":"f","arguments":"{}"}}]})"),
  };
  CHECK(different.size() == 3);
}

TEST_CASE("a dataset with another fingerprint than the recipe's is refused before anything is opened") {
  Run run;
  run.ports.dataset = std::make_shared<MemoryStore>(prompts_of(23), "train");
  run.sets.push_back("dataset.fingerprint=" + run.ports.dataset->fingerprint());
  digest_of(run());
  Run changed;
  changed.ports.dataset = std::make_shared<MemoryStore>(prompts_of(24), "train");
  changed.sets = run.sets;
  const auto summary = changed();
  REQUIRE(summary.failure);
  CHECK(summary.failure->error.code == ErrorCode::invalid_input);
  CHECK(summary.failure->error.message.find("dataset.fingerprint") != std::string::npos);
  CHECK(summary.failure->error.message.find(changed.ports.dataset->fingerprint()) != std::string::npos);
  CHECK(changed.teachers->opened == 0);
}

TEST_CASE("a stopped run keeps its weights: those of the batches before the cut") {
  std::stop_source stop;
  Run run;
  run.sets.insert(run.sets.end(), {"engine.depth=2"});
  run.with_evaluation(0);
  run.options.stop = stop.get_token();
  run.options.on_step = [&](const StepResult& r) {
    if (r.at.step == 3) stop.request_stop();
  };
  const auto directory = std::filesystem::temp_directory_path() / ("pipestill-stopped-" + std::to_string(::getpid()));
  run.options.model_directory = directory;
  const auto summary = run();
  CHECK(summary.status == Status::stopped);
  CHECK(summary.totals.steps >= 4);
  CHECK(summary.totals.steps < 10);
  CHECK(summary.eval_before);
  CHECK(!summary.eval_after);
  CHECK(std::filesystem::exists(directory));
  CHECK(!std::filesystem::is_empty(directory));
  std::filesystem::remove_all(directory);
  run.check_closed();

  Run shorter;  // the same course of the learning rate, cut after as many batches
  shorter.sets.insert(shorter.sets.end(), {"engine.depth=1"});
  std::stop_source cut;
  shorter.options.stop_now = cut.get_token();
  shorter.options.on_step = [&](const StepResult& r) {
    if (r.at.step + 1 == summary.totals.steps) cut.request_stop();
  };
  const auto other = shorter();
  CHECK(other.totals.steps == summary.totals.steps);
  CHECK(other.weights_digest == summary.weights_digest);
}

TEST_CASE("a run that is stopped before it begins opens nothing for long and trains nothing") {
  std::stop_source stop;
  stop.request_stop();
  Run run;
  run.options.stop = stop.get_token();
  const auto summary = run();
  CHECK(summary.status == Status::stopped);
  CHECK(summary.totals.steps == 0);
  CHECK(run.teachers->opened == run.teachers->closed);
}

TEST_CASE("live snapshots stay within staleness + 2") {
  Run run{.method = "on_policy"};
  run.sets.insert(run.sets.end(), {"engine.staleness=2", "engine.depth=8", "training.batch_size=2"});
  run.student.snapshot_counters = std::make_shared<SessionCounters>();
  digest_of(run());
  CHECK(run.student.snapshot_counters->opened == 25);  // one a batch, and the first student
  CHECK(run.student.snapshot_counters->peak_live <= 4);
  CHECK(run.student.snapshot_counters->dropped + run.student.snapshot_counters->closed == 25);
}

TEST_CASE("the flow prints itself without opening anything") {
  const auto text = describe_flow(recipe_of("on_policy", {"evaluation.path=heldout.jsonl", "evaluation.every=5"}));
  std::size_t at = 0;
  for (const char* name : {"init_teacher", "init_student", "batch_source", "student_inference", "teacher_inference", "datum_builder",
                           "forward_backward", "evaluation", "metrics_sink", "cleanup_student", "cleanup_teacher"}) {
    const auto found = text.find(std::string("\n") + name, at);
    CHECK((found != std::string::npos || text.starts_with(name)));
    if (found != std::string::npos) at = found;
  }
  CHECK(describe_flow(recipe_of("supervised")).find("teacher") == std::string::npos);
}

TEST_CASE("make_ports opens what the recipe names") {
  const auto directory = std::filesystem::temp_directory_path() / ("pipestill-ports-" + std::to_string(::getpid()));
  std::filesystem::create_directories(directory);
  std::ofstream(directory / "train.jsonl") << "{\"prompt\": \"a\"}\n{\"prompt\": \"b\"}\n";
  const auto recipe =
      parse_recipe(R"({"method": "off_policy", "dataset": {"path": "train.jsonl"}, "teacher": {"client": "simulated", "on_empty": "drop"},
                                       "student": {"client": "simulated"}, "training": {"batch_size": 1}})",
                   "recipe.json", directory, {});
  REQUIRE(recipe);
  const auto clock = std::make_shared<SimulatedClock>();
  const auto ports = make_ports(*recipe, clock, nullptr);
  if (!ports) FAIL(ports.error().message);
  const auto plan = plan_run(*recipe, *ports);
  REQUIRE(plan);
  CHECK(plan->total_steps == 2);
  CHECK(distil(*recipe, *ports, {.executor = graph::Executor::small}).status == Status::finished);

  const auto missing = parse_recipe(R"({"method": "supervised", "dataset": {"path": "nowhere.jsonl"}, "student": {"client": "simulated"}})",
                                    "r", directory, {});
  REQUIRE(missing);
  const auto refused = make_ports(*missing, clock, nullptr);
  REQUIRE(!refused);
  CHECK(refused.error().message.find("nowhere.jsonl") != std::string::npos);
  std::filesystem::remove_all(directory);
}
