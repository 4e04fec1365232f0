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

/// Rows that are computed together. The loss is sum(coefficients[e] * -log q(targets[e])) over the entries e, q being the distribution at
/// the entry's position; a hard target is one entry of its position, soft targets are several.
struct PackedBatch {
  std::vector<Token> tokens;         ///< of all rows, each row cut behind its last target
  std::vector<std::int64_t> starts;  ///< per row its first token, and the end of the last
  // Positions with a weight other than 0, in order.
  std::vector<std::int64_t> positions;      ///< in `tokens`
  std::vector<std::int64_t> target_starts;  ///< per row its first position, and the end of the last
  std::vector<std::int64_t> entry_starts;   ///< per position its first entry, and the end of the last
  // Entries with a weight other than 0, in order.
  std::vector<Token> targets;
  std::vector<double> coefficients;  ///< weights over the normalisation

  [[nodiscard]] std::int64_t rows() const { return static_cast<std::int64_t>(starts.size()) - 1; }
};

/// Checks the datums and packs them into micro-batches of loss.micro_batch_rows rows, the last maybe smaller, or all into one if that is 0.
/// Coefficients are normalised over all of them. A row without weight is left out, and does not count in seq_mean.
/// ErrorCode::invalid_input, naming the datum by its index, for a loss other than cross_entropy, inputs that lack `target_tokens` or
/// `weights`, shapes that are not both (N) or both (N, K) with N the input's tokens, a token outside the vocabulary (of an entry without
/// weight too), a row that is empty or longer than max_position_embeddings, a weight that is not finite, weights that sum to 0, or a batch
/// without any.
[[nodiscard]] Result<std::vector<PackedBatch>> pack(std::span<const Datum> datums, const Loss& loss, const ModelConfig& config);

}  // namespace pipestill::embedded
