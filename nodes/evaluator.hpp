#pragma once
// Evaluator: how well a model answers held-out rows.
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "graph/base/clock.hpp"
#include "graph/base/completion.hpp"
#include "ports/dataset/dataset_store.hpp"
#include "ports/renderer/renderer.hpp"
#include "ports/sampling/sampling_client.hpp"

namespace pipestill {

struct EvaluationOptions {
  std::vector<std::string> metrics = {"exact_match"};
  int max_tokens = 256;
  std::optional<std::uint64_t> limit = std::nullopt;  ///< rows, from the dataset's beginning; empty: all
  std::size_t in_flight = 256;                        ///< requests at a time
};

struct EvaluationResult {
  std::map<std::string, double> metrics = {};  ///< each in [0, 1]
  std::uint64_t rows = 0;
  bool operator==(const EvaluationResult&) const = default;
};

/// Asks for the greedy answer to each row's conversation without its last message, which is the reference.
/// exact_match: the share of answers whose parsed content is the reference's, to the character, and which ended by a stop sequence.
/// Holds the rendered rows. Immutable and thread-safe.
class Evaluator {
 public:
  /// A row without a final assistant message, an empty dataset and an unknown metric are ErrorCode::invalid_input.
  [[nodiscard]] static Result<std::shared_ptr<const Evaluator>> make(DatasetStore& dataset, std::shared_ptr<const Renderer> renderer,
                                                                     std::shared_ptr<Clock> clock, EvaluationOptions options);

  /// A request that fails fails the evaluation; the error names the row. The evaluator outlives it; the session is kept until then.
  void evaluate(std::shared_ptr<SamplingSession> session, std::stop_token stop, Completion<EvaluationResult> done) const;
  /// The same for one that waits: not from a stage.
  [[nodiscard]] Result<EvaluationResult> evaluate(std::shared_ptr<SamplingSession> session, std::stop_token stop) const;

 private:
  struct Row {
    std::string where;
    ModelInput prompt;
    std::string reference;
  };
  class Count;
  Evaluator(std::vector<Row> rows, std::shared_ptr<const Renderer> renderer, std::shared_ptr<Clock> clock, EvaluationOptions options)
      : rows_(std::move(rows)), renderer_(std::move(renderer)), clock_(std::move(clock)), options_(std::move(options)) {}

  std::vector<Row> rows_;
  std::shared_ptr<const Renderer> renderer_;
  std::shared_ptr<Clock> clock_;
  EvaluationOptions options_;
};

}  // namespace pipestill
