#pragma once
// run_diff: whether two runs did the same, and where they first did not.
#include <boost/json/object.hpp>
#include <filesystem>
#include <optional>
#include <string>

#include "graph/base/error.hpp"

namespace pipestill {

struct RunDifference {
  std::optional<std::uint64_t> step;  ///< the batch, from 0; empty: the runs as a whole
  std::string field;                  ///< e.g. "datum_digest", "rows[3].outcome"
  std::string a, b;                   ///< as JSON; "nothing" where one run has no such field or step
};

struct RunComparison {
  std::uint64_t steps = 0;   ///< compared and equal
  bool has_weights = false;  ///< the runs ended with weights, as failed ones do not
  std::optional<RunDifference> difference;
};

/// Compares the determined columns of the ledgers step by step, or of metrics.jsonl where a run has no ledger, then the weights' digests. What was
/// only observed (times, attempts) does not count, nor does where a teacher lies. A directory that holds no run, or a damaged file, is ErrorCode::invalid_input.
[[nodiscard]] Result<RunComparison> compare_runs(const std::filesystem::path& run_a, const std::filesystem::path& run_b);

}  // namespace pipestill
