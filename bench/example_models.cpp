#include "bench/example_models.hpp"

#include <boost/json/object.hpp>
#include <stop_token>
#include <utility>

#include "nodes/await.hpp"
#include "ports/embedded/model_files.hpp"
#include "ports/sampling/sampling_factory.hpp"
#include "ports/training/training_factory.hpp"

namespace pipestill::bench {
namespace {

constexpr int kLongestRow = kPromptTokens + kDecodeSteps + 1;

boost::json::object torch_section() { return {{"client", "torch"}, {"compute_threads", 1}}; }

}  // namespace

void ModelArguments::add_to(CLI::App& command) {
  command.add_option("--teacher", teacher, "A model directory or a config.json")->capture_default_str();
  command.add_option("--student", student, "A model directory or a config.json")->capture_default_str();
}

Result<std::array<NamedModel, 2>> ModelArguments::load() const {
  std::array<NamedModel, 2> models{{{"teacher", teacher}, {"student", student}}};
  for (auto& m : models) {
    auto files = embedded::find_model_files({.model = m.model, .checkpoint_path = {}}, true);
    if (!files) return fail(std::move(files.error()));
    m.config = files->config;
    m.has_weights = files->weights.has_value();
    if (m.config.max_position_embeddings < kLongestRow) {
      return fail(ErrorCode::invalid_input, m.model + ": max_position_embeddings is " + std::to_string(m.config.max_position_embeddings) +
                                                "; rows of " + std::to_string(kLongestRow) + " tokens are measured");
    }
  }
  return models;
}

Token bench_token(const ModelConfig& config, int row, int t) { return static_cast<Token>((row * 31 + t * t * 7 + t * 5) % config.vocab_size); }

std::vector<Token> bench_prompt(const ModelConfig& config, int row) {
  std::vector<Token> tokens;
  for (int t = 0; t < kPromptTokens; ++t) tokens.push_back(bench_token(config, row, t));
  return tokens;
}

Datum bench_datum(const ModelConfig& config, int row) {
  std::vector<Token> input;
  std::vector<std::int64_t> targets;
  std::vector<float> weights;
  for (int t = 0; t < kRowPositions; ++t) {
    input.push_back(bench_token(config, row, t));
    targets.push_back(bench_token(config, row, t + 1));
    weights.push_back(t + 1 < kPromptTokens ? 0.0f : 1.0f);
  }
  Datum datum;
  datum.model_input = ModelInput::from_ints(std::move(input));
  datum.loss_fn_inputs["target_tokens"] = {std::move(targets), {kRowPositions}};
  datum.loss_fn_inputs["weights"] = {std::move(weights), {kRowPositions}};
  return datum;
}

Result<std::shared_ptr<TrainingSession>> open_trainer(const NamedModel& model) {
  const auto clock = std::make_shared<SystemClock>();
  const auto client = make_training_client(torch_section(), clock);
  if (!client) return fail(client.error());
  auto session = await<std::unique_ptr<TrainingSession>>(*clock, [&](auto done) { (*client)->start_session({model.model, ""}, 1, {}, std::move(done)); });
  if (!session) return fail(std::move(session.error()));
  return std::shared_ptr<TrainingSession>(*std::move(session));
}

Result<std::shared_ptr<SamplingSession>> open_sampler(const NamedModel& model) {
  SystemClock clock;
  if (!model.has_weights) {
    const auto trainer = open_trainer(model);
    if (!trainer) return fail(trainer.error());
    return await<std::shared_ptr<SamplingSession>>(clock, [&](auto done) { (*trainer)->snapshot({}, std::move(done)); });
  }
  const auto client = make_sampling_client(torch_section(), nullptr);
  if (!client) return fail(client.error());
  auto session = await<std::unique_ptr<SamplingSession>>(clock, [&](auto done) { (*client)->start_session({model.model, ""}, {}, std::move(done)); });
  if (!session) return fail(std::move(session.error()));
  return std::shared_ptr<SamplingSession>(*std::move(session));
}

}  // namespace pipestill::bench
