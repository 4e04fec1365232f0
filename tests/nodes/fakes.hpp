#pragma once
// Fakes for the stages' tests: ports that record what they are asked and answer what the test says.
#include <doctest/doctest.h>

#include <boost/json/object.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "graph/message.hpp"
#include "nodes/messages.hpp"
#include "nodes/recipe.hpp"
#include "ports/renderer/renderer.hpp"
#include "ports/sampling/sampling_client.hpp"
#include "ports/telemetry/telemetry.hpp"
#include "ports/tokenizer/tokenizer.hpp"
#include "ports/training/training_client.hpp"

namespace pipestill::test {

/// One token a character; no special tokens. Counts nothing, forgets nothing.
class LetterTokenizer final : public Tokenizer {
 public:
  Result<std::vector<Token>> encode(std::string_view text, SpecialText) const override {
    return std::vector<Token>(text.begin(), text.end());
  }
  Result<std::string> decode(std::span<const Token> tokens) const override {
    std::string text;
    for (const Token t : tokens) {
      if (t < 0 || t > 127) return fail(ErrorCode::invalid_input, "token " + std::to_string(t) + " is not in the vocabulary");
      text.push_back(static_cast<char>(t));
    }
    return text;
  }
  std::optional<Token> special_token(std::string_view) const override { return std::nullopt; }
  std::optional<Token> bos() const override { return 1; }
  std::optional<Token> eos() const override { return 2; }
  std::size_t vocab_size() const override { return 128; }
  std::string fingerprint() const override { return "letters"; }
  Result<void> save(const std::filesystem::path&) const override { return {}; }
};

/// "<role>content" for each message; an answer ends with '.'.
class LetterRenderer : public Renderer {
 public:
  Result<ModelInput> build_generation_prompt(const std::vector<Message>& messages, const PromptOptions& = {}) const override {
    ModelInput input;
    for (const auto& m : messages) {
      if (m.content == "unrenderable") return fail(ErrorCode::invalid_input, "this renderer cannot render it");
      input.chunks.push_back({*tokenizer_.encode(m.content.said(), SpecialText::plain_text)});
    }
    input.chunks.push_back({{'>'}});
    return input;
  }
  Result<SupervisedExample> build_supervised_example(const std::vector<Message>& messages, TrainOnWhat train_on) const override {
    CHECK(train_on == TrainOnWhat::last_assistant_message);
    auto prompt = build_generation_prompt({messages.begin(), messages.end() - 1});
    if (!prompt) return fail(prompt.error());
    SupervisedExample example{*prompt, std::vector<float>(prompt->length(), 0.0f)};
    example.input.chunks.push_back({*tokenizer_.encode(messages.back().content.said(), SpecialText::plain_text)});
    example.weights.resize(example.input.length(), 1.0f);
    return example;
  }
  Stop stop_sequences() const override { return std::vector<Token>{'.'}; }
  Result<ParsedResponse> parse_response(const std::vector<Token>& tokens) const override {
    auto text = tokenizer_.decode(tokens);
    if (!text) return fail(text.error());
    const bool is_ended = text->ends_with('.');
    if (is_ended) text->pop_back();
    return ParsedResponse{{.role = "assistant", .content = *text}, is_ended ? Termination::stop_sequence : Termination::malformed};
  }
  std::string name() const override { return "letters"; }

 private:
  LetterTokenizer tokenizer_;
};

inline std::vector<Token> letters(std::string_view text) { return {text.begin(), text.end()}; }
inline SampledSequence answer_of(std::string_view text, StopReason reason = StopReason::stop) {
  return {letters(text), std::vector<Logprob>(text.size(), -0.5f), reason};
}

/// Keeps requests until the test answers them.
class ManualSampling final : public SamplingSession {
 public:
  struct Sample {
    SampleRequest request;
    Completion<SampledSequence> done;
  };
  struct Scoring {
    ScoreRequest request;
    Completion<Score> done;
  };
  std::deque<Sample> samples;
  std::deque<Scoring> scorings;
  std::function<Result<SampledSequence>(const SampleRequest&)> answer_at_once;  // from inside the call, which no session should
  SamplingCapabilities able{.is_seeded = true, .is_deterministic = true, .has_logprobs = true, .has_prompt_logprobs = true};

  void sample(SampleRequest request, std::stop_token, Completion<SampledSequence> done) override {
    if (answer_at_once) return done(answer_at_once(request));
    samples.push_back({std::move(request), std::move(done)});
  }
  void compute_logprobs(ScoreRequest request, std::stop_token, Completion<Score> done) override {
    scorings.push_back({std::move(request), std::move(done)});
  }
  const SamplingCapabilities& capabilities() const override { return able; }
  ModelUsage usage() const override { return {}; }
  Result<void> close() override { return {}; }

  /// Answers the oldest request.
  void answer(Result<SampledSequence> result) {
    REQUIRE(!samples.empty());
    auto sample = std::move(samples.front());
    samples.pop_front();
    sample.done(std::move(result));
  }
  void score(Result<Score> result) {
    REQUIRE(!scorings.empty());
    auto scoring = std::move(scorings.front());
    scorings.pop_front();
    scoring.done(std::move(result));
  }
};

/// Writes down the calls; ends them through the clock, in their order.
class RecordingTraining final : public TrainingSession {
 public:
  explicit RecordingTraining(std::shared_ptr<Clock> clock) : clock_(std::move(clock)) {}
  std::vector<std::string> calls;
  std::vector<std::vector<Datum>> batches;
  std::vector<Loss> losses;
  std::vector<AdamParams> adams;
  std::optional<Error> forward_backward_fails, optim_step_fails, snapshot_fails, capture_fails;
  std::shared_ptr<SamplingSession> next_snapshot;
  std::shared_ptr<const TrainingState> next_state;

  void forward_backward(std::vector<Datum> datums, Loss loss, std::stop_token, Completion<ForwardBackwardOutput> done) override {
    calls.push_back("forward_backward");
    batches.push_back(std::move(datums));
    losses.push_back(loss);
    end(done, forward_backward_fails, ForwardBackwardOutput{{{"loss", 1.5}, {"num_tokens", 3}}});
  }
  void forward(std::vector<Datum>, Loss, std::stop_token, Completion<ForwardBackwardOutput> done) override {
    end(done, {}, ForwardBackwardOutput{});
  }
  void optim_step(AdamParams params, std::stop_token, Completion<OptimStepOutput> done) override {
    calls.push_back("optim_step");
    adams.push_back(params);
    end(done, optim_step_fails, OptimStepOutput{{{"grad_norm", 0.25}}});
  }
  void snapshot(std::stop_token, Completion<std::shared_ptr<SamplingSession>> done) override {
    calls.push_back("snapshot");
    end(done, snapshot_fails, next_snapshot ? next_snapshot : std::make_shared<ManualSampling>());
  }
  void capture_state(std::stop_token, Completion<std::shared_ptr<const TrainingState>> done) override {
    calls.push_back("capture_state");
    end(done, capture_fails, next_state);
  }
  void load_state(std::filesystem::path, std::stop_token, Completion<std::monostate> done) override { end(done, {}, std::monostate{}); }
  void load_snapshot(std::filesystem::path, std::stop_token, Completion<std::shared_ptr<SamplingSession>> done) override {
    end(done, {}, next_snapshot ? next_snapshot : std::make_shared<ManualSampling>());
  }
  void export_weights(std::filesystem::path, std::stop_token, Completion<std::monostate> done) override { end(done, {}, std::monostate{}); }
  void weights_digest(std::stop_token, Completion<std::string> done) override { end(done, {}, std::string("digest")); }
  const TrainingCapabilities& capabilities() const override { return able_; }
  ModelUsage usage() const override { return {}; }
  Result<void> close() override { return {}; }

 private:
  template <class T>
  void end(Completion<T> done, std::optional<Error> error, T value) {
    clock_->call_at(clock_->now(), [done, error, value] {
      if (error)
        done(fail(*error));
      else
        done(value);
    });
  }
  std::shared_ptr<Clock> clock_;
  TrainingCapabilities able_;
};

class RecordingTelemetry final : public Telemetry {
 public:
  struct Event {
    std::string name;
    boost::json::object fields;
  };
  void event(std::string_view name, const boost::json::object& fields) override {
    std::lock_guard lock(mutex_);
    events.push_back({std::string(name), fields});
  }
  void span(const Span& span) override {
    std::lock_guard lock(mutex_);
    spans.emplace_back(span.track);
  }
  void metrics(std::uint64_t step, const boost::json::object& values) override {
    std::lock_guard lock(mutex_);
    CHECK(step == rows.size());
    rows.push_back(values);
  }
  bool wants_spans() const override { return wants_detail; }
  bool wants_stage_events() const override { return wants_detail; }
  std::size_t count(std::string_view name) const {
    std::lock_guard lock(mutex_);
    return static_cast<std::size_t>(std::count_if(events.begin(), events.end(), [&](const Event& e) { return e.name == name; }));
  }

  bool wants_detail = false;
  std::vector<Event> events;
  std::vector<std::string> spans;
  std::vector<boost::json::object> rows;

 private:
  mutable std::mutex mutex_;  // guards the vectors while a run goes on
};

/// What a call delivered, and how often.
template <class T>
struct Delivered {
  std::shared_ptr<std::vector<Result<T>>> results = std::make_shared<std::vector<Result<T>>>();
  Completion<T> completion() const {
    return Completion<T>([r = results](Result<T> result) { r->push_back(std::move(result)); });
  }
  bool has() const { return !results->empty(); }
  T& value() const {
    REQUIRE(results->size() == 1);
    if (!results->front()) FAIL(results->front().error().message);
    return *results->front();
  }
  const Error& error() const {
    REQUIRE(results->size() == 1);
    REQUIRE(!results->front());
    return results->front().error();
  }
};

inline void run_to_the_end(SimulatedClock& clock) {
  while (clock.advance()) {
  }
}

inline PromptBatch prompts(const std::vector<std::string>& texts, std::uint64_t step = 0) {
  PromptBatch batch{.at = {0, step, step}};
  for (std::size_t i = 0; i < texts.size(); ++i) {
    batch.rows.push_back({.index = i,
                          .where = "train.jsonl:" + std::to_string(i + 1),
                          .conversation = {{"user", texts[i]}},
                          .teacher = "t",
                          .seed = 100 + i});
  }
  return batch;
}

inline Recipe recipe_of(const std::string& method, const std::vector<std::string>& sets = {}) {
  const std::string teacher = method == "supervised" ? "" : R"("teacher": {"client": "simulated", "on_empty": "drop"},)";
  std::vector<Override> overrides;
  for (const auto& set : sets) overrides.push_back(*parse_override(set));
  auto recipe = parse_recipe(R"({"method": ")" + method + R"(", "seed": 7, "dataset": {"path": "train.jsonl"},)" + teacher +
                                 R"("student": {"client": "simulated"}})",
                             "recipe.json", ".", overrides);
  if (!recipe) FAIL(recipe.error().message);
  return *recipe;
}

}  // namespace pipestill::test
