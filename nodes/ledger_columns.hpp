#pragma once
// What a batch came to, as the ledger and metrics.jsonl say it.
#include <boost/json/object.hpp>
#include <filesystem>

#include "graph/base/clock.hpp"
#include "graph/base/error.hpp"
#include "nodes/batch_source.hpp"
#include "nodes/messages.hpp"
#include "nodes/run_totals.hpp"
#include "ports/checkpoint/ledger.hpp"

namespace pipestill {

/// LedgerRow::outcome of a row that was not dropped; of the others it is their kDropReasonNames.
inline constexpr std::string_view kTrained = "trained";

[[nodiscard]] LedgerEntry ledger_entry(const StepResult& result);
[[nodiscard]] LedgerObserved ledger_observed(const StepResult& result, Clock::Time now);

/// A line of metrics.jsonl but for its step: the determined columns, and apart from them, in the object `observed`, the times. `distill_loss` and
/// `grad_norm` are null where nothing was trained.
[[nodiscard]] boost::json::object metrics_columns(const LedgerEntry& entry, const LedgerObserved& observed);

/// The sums over the ledger's entries before next_step().
[[nodiscard]] Result<RunTotals> recorded_totals(Ledger& ledger);

/// Of the ledger's expectations.
[[nodiscard]] Result<FailedRows> failed_rows(Ledger& ledger);
/// Of everything that the reader has not read yet.
[[nodiscard]] Result<FailedRows> failed_rows(LedgerReader& reader);

/// Makes metrics.jsonl again: the lines of the ledger's entries before next_step(), as they were written. Aside, and then in place of what is there.
[[nodiscard]] Result<void> rewrite_metrics(Ledger& ledger, const std::filesystem::path& metrics);

}  // namespace pipestill
