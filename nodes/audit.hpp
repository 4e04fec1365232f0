#pragma once
// audit: whether what a run wrote down is what its recipe and its data ask for.
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "graph/base/error.hpp"

namespace pipestill {

struct AuditFault {
  std::optional<std::uint64_t> step;  ///< from 0; empty: of the run as a whole
  std::string message;                ///< one sentence, which names the step where there is one
};

/// One question that was asked of every batch, or of the run.
struct AuditCheck {
  std::string name;      ///< e.g. "staleness"
  std::string question;  ///< what is so where there is no fault
  bool is_made = true;   ///< false: what it needs is gone, which is a fault of another check
  std::uint64_t faults = 0;
  std::vector<AuditFault> first = {};  ///< the first kMostToldFaults with a step, and all without
};
inline constexpr std::size_t kMostToldFaults = 3;

struct AuditReport {
  std::uint64_t steps = 0;            ///< entries of the ledger that could be read
  std::string ledger_digest = {};     ///< the cumulative one behind them, computed anew
  std::vector<AuditCheck> checks = {};

  [[nodiscard]] std::uint64_t faults() const;
};

/// Reads a run directory and changes nothing in it (a killed run's may get run.sqlite-shm, see LedgerReader). It takes nothing from the run's own
/// bookkeeping that it can work out from recipe.json and the datasets: every batch must be the one that is due at its step, with the student that
/// engine.staleness says, and every pass through a dataset must have each of its rows once, with the content that the dataset has.
/// What is wrong, and what could not be checked (a dataset that is gone), is a fault in the report. Datasets are looked for where the recipe was,
/// and then in the run directory. Each row is read once a pass.
/// A directory that holds no run is ErrorCode::invalid_input; a run that goes on is ErrorCode::backend_failed.
[[nodiscard]] Result<AuditReport> audit_run(const std::filesystem::path& run);

}  // namespace pipestill
