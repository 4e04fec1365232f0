#pragma once
// LedgerEntry: what one batch came to, as the ledger keeps it.
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ports/sha256.hpp"

namespace pipestill {

/// One row of a batch.
struct LedgerRow {
  std::uint64_t dataset = 0;                       ///< in a mix, from 0
  std::uint64_t index = 0;                         ///< in its dataset, from 0
  std::optional<Sha256Digest> content = std::nullopt;  ///< conversation_digest() of what the dataset says; empty: it could not be read
  std::string teacher = {};   ///< that was to answer or to score, as the recipe names it; empty: none. A place, as a path is one: it is in no digest
  std::string renderer = {};  ///< empty: the row could not be read
  std::string outcome = {};   ///< "trained", or why it was dropped
  std::uint64_t num_tokens = 0;  ///< that it trains
};

/// The determined columns of one batch: what the recipe, the data and the models' answers make of it, whenever it is computed.
struct LedgerEntry {
  std::uint64_t step = 0;   ///< in the run; this, too, from 0
  std::uint64_t epoch = 0;  ///< of the first dataset
  std::uint64_t batch = 0;  ///< in its epoch
  std::optional<std::uint64_t> student_version = std::nullopt;  ///< that sampled it; empty: no student did
  std::vector<LedgerRow> rows = {};
  std::uint64_t num_tokens = 0;  ///< that it trains: the sum of its rows'
  std::string datum_digest = {};
  double learning_rate = 0;
  std::optional<double> distill_loss = std::nullopt, grad_norm = std::nullopt;  ///< empty where the trainer does not say, or nothing was trained
};

/// What was seen while a batch was computed. It differs from run to run, and no digest includes it.
struct LedgerObserved {
  std::chrono::nanoseconds teacher_latency{}, forward_backward{};
  std::chrono::nanoseconds time{};  ///< on the run's clock, when the batch was done
  /// Requests that were made for its answers, repeated ones included, and tokens that a backend charged for; empty: not known.
  std::optional<std::uint64_t> attempts = std::nullopt, tokens_paid = std::nullopt;
  bool operator==(const LedgerObserved&) const = default;
};

/// The cumulative digest before the first entry: SHA-256 of "pipestill ledger 1".
[[nodiscard]] Sha256Digest empty_ledger_digest();
/// The cumulative digest behind `entry`: SHA-256 over the 32 bytes of the one before it, and then, as Sha256::number() and Sha256::field()
/// write them:
///   step, epoch, batch, student_version; the number of rows, and of each row dataset, index, content, renderer, outcome, num_tokens;
///   num_tokens, datum_digest, learning_rate, distill_loss, grad_norm.
/// Integers are numbers, a double is the number that its bits are, a text or a hash is a field. What may be missing has the number 0 or 1
/// before it, and nothing behind the 0.
[[nodiscard]] Sha256Digest ledger_digest(const Sha256Digest& before, const LedgerEntry& entry);

/// Where two entries first differ, in the order in which the digest takes their columns.
struct LedgerDifference {
  std::string field;  ///< e.g. "rows[3].outcome"
  std::string a, b;   ///< as JSON; "nothing" where one entry has no such row
};
/// Compares what the digest includes; floats by their bits.
[[nodiscard]] std::optional<LedgerDifference> first_difference(const LedgerEntry& a, const LedgerEntry& b);

}  // namespace pipestill
