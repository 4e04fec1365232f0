#pragma once
// Training rows laid end to end: no padding is computed.
#include <cstdint>
#include <span>
#include <vector>

#include "graph/base/error.hpp"
#include "ports/embedded/model_config.hpp"
#include "ports/training/training_client.hpp"
#include "ports/types.hpp"

namespace pipestill::embedded {

struct PackedBatch {
  std::vector<Token> tokens;         ///< of all rows, each row cut behind its last target
  std::vector<std::int64_t> starts;  ///< per row its first token, and the end of the last
  // Positions with non-zero weight, in order. The loss is sum(coefficients[i] * loss of target i).
  std::vector<std::int64_t> positions;      ///< in `tokens`
  std::vector<std::int64_t> target_starts;  ///< per row its first target, and the end of the last
  std::vector<Token> targets;
  std::vector<double> coefficients;

  [[nodiscard]] std::int64_t rows() const { return static_cast<std::int64_t>(starts.size()) - 1; }
};

/// Checks the datums and packs them. A row without weight is left out, and does not count in seq_mean. ErrorCode::invalid_input,
/// naming the datum by its index, for a loss other than cross_entropy, inputs that lack `target_tokens` or `weights` or whose
/// lengths differ, a token outside the vocabulary, a row that is empty or longer than max_position_embeddings, a weight that
/// is not finite, weights that sum to 0, or a batch without any.
[[nodiscard]] Result<PackedBatch> pack(std::span<const Datum> datums, const Loss& loss, const ModelConfig& config);

}  // namespace pipestill::embedded
