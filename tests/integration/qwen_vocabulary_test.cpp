// The example, rendered as qwen3 over Qwen's own vocabulary, which is not ours to ship: random models of 151,936 tokens learn from it.
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "nodes/distillation.hpp"
#include "tests/support/conformance.hpp"

namespace {

namespace fs = std::filesystem;
using namespace pipestill;

constexpr Token kImStart = 151644, kImEnd = 151645;

/// What the student was given to learn.
struct Lessons {
  std::mutex mutex;
  std::vector<std::vector<Datum>> batches;
};

/// Hands everything on, and writes down the datums.
class ListeningSession final : public TrainingSession {
 public:
  ListeningSession(std::unique_ptr<TrainingSession> inner, std::shared_ptr<Lessons> lessons) : inner_(std::move(inner)), lessons_(std::move(lessons)) {}
  void forward_backward(std::vector<Datum> datums, Loss loss, std::stop_token stop, Completion<ForwardBackwardOutput> done) override {
    {
      const std::lock_guard lock(lessons_->mutex);
      lessons_->batches.push_back(datums);
    }
    inner_->forward_backward(std::move(datums), std::move(loss), std::move(stop), std::move(done));
  }
  void forward(std::vector<Datum> datums, Loss loss, std::stop_token stop, Completion<ForwardBackwardOutput> done) override {
    inner_->forward(std::move(datums), std::move(loss), std::move(stop), std::move(done));
  }
  void optim_step(AdamParams params, std::stop_token stop, Completion<OptimStepOutput> done) override {
    inner_->optim_step(params, std::move(stop), std::move(done));
  }
  void snapshot(std::stop_token stop, Completion<std::shared_ptr<SamplingSession>> done) override { inner_->snapshot(std::move(stop), std::move(done)); }
  void load_snapshot(fs::path directory, std::stop_token stop, Completion<std::shared_ptr<SamplingSession>> done) override {
    inner_->load_snapshot(std::move(directory), std::move(stop), std::move(done));
  }
  void capture_state(std::stop_token stop, Completion<std::shared_ptr<const TrainingState>> done) override {
    inner_->capture_state(std::move(stop), std::move(done));
  }
  void load_state(fs::path directory, std::stop_token stop, Completion<std::monostate> done) override {
    inner_->load_state(std::move(directory), std::move(stop), std::move(done));
  }
  void export_weights(fs::path directory, std::stop_token stop, Completion<std::monostate> done) override {
    inner_->export_weights(std::move(directory), std::move(stop), std::move(done));
  }
  void weights_digest(std::stop_token stop, Completion<std::string> done) override { inner_->weights_digest(std::move(stop), std::move(done)); }
  const TrainingCapabilities& capabilities() const override { return inner_->capabilities(); }
  std::map<std::string, std::string> identity() const override { return inner_->identity(); }
  ModelUsage usage() const override { return inner_->usage(); }
  Result<void> close() override { return inner_->close(); }

 private:
  std::unique_ptr<TrainingSession> inner_;
  std::shared_ptr<Lessons> lessons_;
};

class ListeningClient final : public TrainingClient {
 public:
  ListeningClient(std::shared_ptr<TrainingClient> inner, std::shared_ptr<Lessons> lessons) : inner_(std::move(inner)), lessons_(std::move(lessons)) {}
  void start_session(ModelRef model, std::uint64_t init_seed, std::stop_token stop, Completion<std::unique_ptr<TrainingSession>> done) override {
    inner_->start_session(std::move(model), init_seed, std::move(stop),
                          Completion<std::unique_ptr<TrainingSession>>([lessons = lessons_, done](Result<std::unique_ptr<TrainingSession>> session) {
                            if (!session) return done(fail(session.error()));
                            done(std::make_unique<ListeningSession>(*std::move(session), lessons));
                          }));
  }
  Result<void> check(const ModelRef& model) const override { return inner_->check(model); }
  TrainingCapabilities capabilities() const override { return inner_->capabilities(); }

 private:
  std::shared_ptr<TrainingClient> inner_;
  std::shared_ptr<Lessons> lessons_;
};

/// The example's data and a tiny model of Qwen's vocabulary, gone with the test.
struct Workshop {
  fs::path path = fs::temp_directory_path() / ("pipestill-qwen-vocabulary-" + std::to_string(::getpid()));
  Workshop() {
    fs::create_directories(path);
    REQUIRE(std::system(("'" MAKE_DATA_PROGRAM "' '" + (path / "data").string() + "' >/dev/null").c_str()) == 0);
    std::ofstream(path / "config.json") << R"({"model_type": "qwen3", "vocab_size": 151936, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
      "num_key_value_heads": 1, "head_dim": 16, "intermediate_size": 48, "max_position_embeddings": 256, "rms_norm_eps": 1e-6, "rope_theta": 1e6,
      "tie_word_embeddings": true, "hidden_act": "silu"})";
  }
  Workshop(const Workshop&) = delete;
  Workshop& operator=(const Workshop&) = delete;
  ~Workshop() { fs::remove_all(path); }
};

struct Taught {
  RunSummary summary;
  std::vector<double> losses;
  std::vector<std::vector<Datum>> batches;
};

/// One of the example's recipes, with another vocabulary, format and size.
Taught teach(const std::string& recipe_name, const Workshop& workshop, const fs::path& vocabulary, const fs::path& model_directory, std::vector<std::string> sets) {
  sets.insert(sets.end(), {"student.tokenizer=" + vocabulary.string(), "student.renderer=qwen3", "student.model=" + (workshop.path / "config.json").string(),
                           "training.batch_size=6", "training.max_steps=5", "training.warmup_steps=0", "training.learning_rate=0.02", "evaluation.limit=2"});
  std::vector<Override> overrides;
  for (const auto& set : sets) overrides.push_back(parse_override(set).value());
  const auto recipe = read_recipe(fs::path(PIPESTILL_SOURCE_DIR) / "examples/tasks" / recipe_name, overrides);
  REQUIRE_MESSAGE(recipe, recipe.error().message);
  auto ports = make_ports(*recipe, std::make_shared<SystemClock>(), nullptr);
  REQUIRE_MESSAGE(ports, ports.error().message);
  const auto lessons = std::make_shared<Lessons>();
  ports->student = std::make_shared<ListeningClient>(ports->student, lessons);
  Taught taught;
  fs::create_directories(model_directory);
  taught.summary = distil(*recipe, *ports, {.on_step = [&](const StepResult& step) { taught.losses.push_back(step.distill_loss.value_or(NAN)); }, .model_directory = model_directory});
  REQUIRE_MESSAGE(!taught.summary.failure, taught.summary.failure->error.message);
  REQUIRE(taught.summary.status == RunSummary::Status::finished);
  taught.batches = lessons->batches;
  return taught;
}

/// Targets with a weight other than 0: what is learned of a row.
std::vector<Token> learned(const Datum& datum) {
  const auto& targets = std::get<std::vector<std::int64_t>>(datum.loss_fn_inputs.at("target_tokens").data);
  const auto& weights = std::get<std::vector<float>>(datum.loss_fn_inputs.at("weights").data);
  std::vector<Token> tokens;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (weights[i] != 0) tokens.push_back(static_cast<Token>(targets[i]));
  }
  return tokens;
}

}  // namespace

TEST_CASE("the example as qwen3 over Qwen's vocabulary: a random teacher is trained, and a random student learns from it") {
  const auto data = test::conformance_dir();
  if (!data) {
    std::puts(test::kNoConformance);
    return;
  }
  const auto vocabulary = *data / "tokenizers/qwen3";
  const auto tokenizer = Tokenizer::load(vocabulary.string()).value();
  REQUIRE(tokenizer->special_token("<|im_end|>") == kImEnd);
  const Workshop workshop;
  const auto teacher_data = "dataset.path=" + (workshop.path / "data/teacher_train.jsonl").string(), held_out = "evaluation.path=" + (workshop.path / "data/validation.jsonl").string();
  const auto teacher = teach("teacher.json", workshop, vocabulary, workshop.path / "teacher", {teacher_data, held_out, "evaluation.max_tokens=4"});
  const auto sequential = teach("teacher.json", workshop, vocabulary, workshop.path / "again", {teacher_data, held_out, "evaluation.max_tokens=4", "engine.depth=1"});
  CHECK(teacher.summary.weights_digest == sequential.summary.weights_digest);
  REQUIRE(teacher.losses.size() == 5);
  CHECK(std::ranges::all_of(teacher.losses, [](double loss) { return std::isfinite(loss); }));
  CHECK(teacher.losses.front() == doctest::Approx(std::log(151936)).epsilon(0.05));  // it knows nothing yet
  CHECK(teacher.losses.back() < teacher.losses.front() - 1);
  REQUIRE(teacher.batches.size() == 5);
  std::size_t rows = 0, tokens = 0;
  for (const auto& batch : teacher.batches) {
    CHECK(batch.size() == 6);
    for (const auto& datum : batch) {
      ++rows;
      const auto input = datum.model_input.to_ints();
      tokens += input.size();
      const auto text = tokenizer->decode(input).value();
      CAPTURE(text);
      CHECK(std::ranges::count(input, kImStart) == 2);  // the user's, and the assistant's
      CHECK(std::ranges::count(input, kImEnd) == 1);    // the user's: the answer's is a target alone
      CHECK(text.starts_with("<|im_start|>user\n"));
      const auto answer = learned(datum);
      REQUIRE(!answer.empty());
      CHECK(answer.back() == kImEnd);
      CHECK(std::ranges::count(answer, kImEnd) == 1);
      const auto said = tokenizer->decode(answer).value();
      CHECK(said.size() > 10);  // beyond <|im_end|>: an answer
      CHECK((text + "<|im_end|>").ends_with(said));
    }
  }

  const std::vector<std::string> off_policy{"dataset.path=" + (workshop.path / "data/train.jsonl").string(), held_out, "evaluation.max_tokens=4", "teacher.max_tokens=6",
                                            "teacher.temperature=0", "teacher.on_empty=drop",
                                            "teacher.teacher_model=" + (workshop.path / "teacher").string()};
  const auto student = teach("distill.json", workshop, vocabulary, workshop.path / "student", off_policy);
  CHECK(student.losses.size() == 5);
  CHECK(std::ranges::all_of(student.losses, [](double loss) { return std::isfinite(loss); }));
  CHECK(student.losses.back() < student.losses.front());
  for (const auto& batch : student.batches) {
    for (const auto& datum : batch) CHECK(datum.model_input.to_ints().front() == kImStart);
  }
  const auto saved = Tokenizer::load((workshop.path / "student").string());
  REQUIRE(saved);
  CHECK((*saved)->fingerprint() == tokenizer->fingerprint());
  std::printf("qwen3: %zu rows, %zu tokens, loss %.3f to %.3f; off-policy %.3f to %.3f\n", rows, tokens, teacher.losses.front(), teacher.losses.back(),
              student.losses.front(), student.losses.back());
}
