#pragma once
// The example's models and the shape of its work, for scenarios that compute on real ones.
#include <CLI/CLI.hpp>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "graph/base/error.hpp"
#include "ports/embedded/model_config.hpp"
#include "ports/sampling/sampling_client.hpp"
#include "ports/training/training_client.hpp"
#include "ports/types.hpp"

namespace pipestill::bench {

/// A model by the part it plays.
struct NamedModel {
  std::string role;   ///< teacher or student
  std::string model;  ///< a model directory or a config.json, as in a recipe
  ModelConfig config = {};
  bool has_weights = false;  ///< otherwise fresh ones are drawn
};

struct ModelArguments {
  std::string teacher = "examples/tasks/teacher", student = "examples/tasks/student/config.json";
  void add_to(CLI::App& command);
  /// Reads their configurations. ErrorCode::invalid_input, naming the file.
  [[nodiscard]] Result<std::array<NamedModel, 2>> load() const;
};

// Rows as long as the example's longest prompts and average answers.
inline constexpr int kPromptTokens = 16, kAnswerTokens = 11, kBatchRows = 64;
inline constexpr int kDecodeSteps = 28;  ///< behind the prompt
inline constexpr std::int64_t kRowPositions = kPromptTokens + kAnswerTokens - 1;  ///< the last token is predicted only

/// Token t of row r, any t: `bench/compare_torch.py` makes the same.
[[nodiscard]] Token bench_token(const ModelConfig& config, int row, int t);
[[nodiscard]] std::vector<Token> bench_prompt(const ModelConfig& config, int row);
/// A prompt of weight 0 and an answer of weight 1.
[[nodiscard]] Datum bench_datum(const ModelConfig& config, int row);

// Sessions of the client "torch", with one compute thread, as a recipe opens them.
[[nodiscard]] Result<std::shared_ptr<TrainingSession>> open_trainer(const NamedModel& model);
/// Of the model itself, or of a snapshot where it has no weights of its own.
[[nodiscard]] Result<std::shared_ptr<SamplingSession>> open_sampler(const NamedModel& model);

}  // namespace pipestill::bench
