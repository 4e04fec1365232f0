#pragma once
// Small models and the waiting that tests of asynchronous ports need.
#include <doctest/doctest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ports/embedded/model_config.hpp"
#include "ports/sampling/torch_sampling_client.hpp"
#include "ports/training/torch_training_client.hpp"

namespace pipestill::test {

/// A directory that goes with the test.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    static std::atomic<int> counter{0};
    path_ = std::filesystem::temp_directory_path() / ("pipestill-embedded-" + std::to_string(::getpid()) + "-" + std::to_string(counter++));
    std::filesystem::create_directories(path_);
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline void write_text(const std::filesystem::path& file, std::string_view text) {
  std::ofstream(file, std::ios::binary).write(text.data(), static_cast<std::streamsize>(text.size()));
}
inline std::string read_text(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline ModelConfig small_config() {
  return {.family = ModelConfig::Family::llama,
          .vocab_size = 40,
          .hidden_size = 32,
          .num_hidden_layers = 2,
          .num_attention_heads = 4,
          .num_key_value_heads = 2,
          .head_dim = 8,
          .intermediate_size = 48,
          .max_position_embeddings = 64,
          .rms_norm_eps = 1e-6,
          .rope_theta = 10000,
          .tie_word_embeddings = true};
}

/// Writes config.json, and returns its path.
inline std::string config_in(const TemporaryDirectory& directory, const ModelConfig& config = small_config()) {
  write_text(directory.path() / "config.json", to_json(config));
  return (directory.path() / "config.json").string();
}

/// Sizes that fill no vector and no block of the kernels.
inline ModelConfig odd_config() {
  return {.family = ModelConfig::Family::qwen3,
          .vocab_size = 151,
          .hidden_size = 76,
          .num_hidden_layers = 2,
          .num_attention_heads = 6,
          .num_key_value_heads = 2,
          .head_dim = 10,
          .intermediate_size = 101,
          .max_position_embeddings = 300,
          .tie_word_embeddings = false};
}

/// The example's teacher, trained: 64 tokens of the characters tokenizer, four layers.
inline std::filesystem::path shipped_teacher() { return std::filesystem::path(PIPESTILL_SOURCE_DIR) / "examples/tasks/teacher"; }

/// Calls start(completion) and waits for the answer.
template <class T, class Start>
Result<T> await(Start start) {
  auto answer = std::make_shared<std::promise<Result<T>>>();
  auto future = answer->get_future();
  start(Completion<T>([answer](Result<T> result) { answer->set_value(std::move(result)); }));
  REQUIRE(future.wait_for(std::chrono::seconds(60)) == std::future_status::ready);
  return future.get();
}

template <class T>
T value_of(Result<T> result) {
  REQUIRE_MESSAGE(result.has_value(), (result ? "" : result.error().message));
  return std::move(*result);
}

/// The options given, one client each; the process keeps the module.
inline std::unique_ptr<TrainingSession> open_student(const std::string& model, std::uint64_t seed = 1, int threads = 1) {
  auto client = value_of(make_torch_training_client({threads}));
  return value_of(await<std::unique_ptr<TrainingSession>>([&](auto done) { client->start_session({model, ""}, seed, {}, done); }));
}
inline std::unique_ptr<SamplingSession> open_teacher(const std::string& model, int threads = 1) {
  auto client = value_of(make_torch_sampling_client({threads}));
  return value_of(await<std::unique_ptr<SamplingSession>>([&](auto done) { client->start_session({model, ""}, {}, done); }));
}

/// Fresh weights for `config`, in `directory`.
inline void make_model(const std::filesystem::path& directory, const ModelConfig& config, std::uint64_t seed = 1) {
  write_text(directory / "config.json", to_json(config));
  const auto student = open_student((directory / "config.json").string(), seed);
  (void)value_of(await<std::monostate>([&](auto done) { student->export_weights(directory, {}, done); }));
}

/// A datum that learns to predict every token from the one before it, with the weights given (1 each if empty).
inline Datum make_datum(std::vector<Token> tokens, std::vector<float> weights = {}) {
  const auto n = static_cast<std::int64_t>(tokens.size()) - 1;
  std::vector<std::int64_t> targets(tokens.begin() + 1, tokens.end());
  if (weights.empty()) weights.assign(static_cast<std::size_t>(n), 1.0f);
  tokens.pop_back();
  Datum datum;
  datum.model_input = ModelInput::from_ints(std::move(tokens));
  datum.loss_fn_inputs["target_tokens"] = {std::move(targets), {n}};
  datum.loss_fn_inputs["weights"] = {std::move(weights), {n}};
  return datum;
}

/// A datum with soft targets: `entries` tokens a position, with these weights, both row-major.
inline Datum make_soft_datum(std::vector<Token> input, std::vector<std::int64_t> targets, std::vector<float> weights, std::int64_t entries) {
  const auto n = static_cast<std::int64_t>(input.size());
  Datum datum;
  datum.model_input = ModelInput::from_ints(std::move(input));
  datum.loss_fn_inputs["target_tokens"] = {std::move(targets), {n, entries}};
  datum.loss_fn_inputs["weights"] = {std::move(weights), {n, entries}};
  return datum;
}

/// Rows of pseudo-random tokens of lengths 4 to 15.
inline std::vector<Datum> make_batch(int rows, int salt = 0) {
  std::vector<Datum> batch;
  for (int r = 0; r < rows; ++r) {
    std::vector<Token> tokens;
    for (int t = 0; t < 4 + (r * 5 + salt) % 12; ++t) tokens.push_back((r * 31 + t * 7 + t * t * (salt + 3)) % 40);
    batch.push_back(make_datum(std::move(tokens)));
  }
  return batch;
}

inline Result<ForwardBackwardOutput> forward_backward(TrainingSession& s, std::vector<Datum> batch, Loss loss = {}) {
  return await<ForwardBackwardOutput>([&](auto done) { s.forward_backward(std::move(batch), std::move(loss), {}, done); });
}
inline Result<ForwardBackwardOutput> forward(TrainingSession& s, std::vector<Datum> batch, Loss loss = {}) {
  return await<ForwardBackwardOutput>([&](auto done) { s.forward(std::move(batch), std::move(loss), {}, done); });
}
inline Result<OptimStepOutput> optim_step(TrainingSession& s, AdamParams params = {.learning_rate = 1e-2}) {
  return await<OptimStepOutput>([&](auto done) { s.optim_step(params, {}, done); });
}
inline std::string digest(TrainingSession& s) {
  return value_of(await<std::string>([&](auto done) { s.weights_digest({}, done); }));
}

/// A deterministic prompt for row `r`.
inline std::vector<Token> prompt_of(int r) {
  std::vector<Token> tokens;
  for (int t = 0; t < 1 + r * 7 % 20; ++t) tokens.push_back((r * 13 + t * 5) % 40);
  return tokens;
}
inline SampleRequest request_of(int r) {
  SampleRequest request;
  request.prompt = ModelInput::from_ints(prompt_of(r));
  request.params.max_tokens = 3 + r % 17;
  request.params.seed = static_cast<std::uint64_t>(r) * 977 + 5;
  request.params.stop = std::vector<Token>{7};
  return request;
}

/// Submits all requests, in order, before it waits for the first.
inline std::vector<Result<SampledSequence>> sample_all(SamplingSession& session, std::vector<SampleRequest> requests) {
  std::vector<std::shared_ptr<std::promise<Result<SampledSequence>>>> answers;
  for (auto& request : requests) {
    auto answer = answers.emplace_back(std::make_shared<std::promise<Result<SampledSequence>>>());
    session.sample(std::move(request), {},
                   Completion<SampledSequence>([answer](Result<SampledSequence> r) { answer->set_value(std::move(r)); }));
  }
  std::vector<Result<SampledSequence>> results;
  for (auto& answer : answers) {
    auto future = answer->get_future();
    REQUIRE(future.wait_for(std::chrono::seconds(60)) == std::future_status::ready);
    results.push_back(future.get());
  }
  return results;
}
inline Result<SampledSequence> sample_one(SamplingSession& session, SampleRequest request) {
  std::vector<SampleRequest> one;
  one.push_back(std::move(request));
  return std::move(sample_all(session, std::move(one))[0]);
}

}  // namespace pipestill::test
