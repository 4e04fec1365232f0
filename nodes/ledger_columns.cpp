#include "nodes/ledger_columns.hpp"

#include <algorithm>
#include <string>
#include <system_error>
#include <utility>

#include "nodes/json_values.hpp"
#include "ports/telemetry/jsonl_telemetry.hpp"
#include "ports/telemetry/output_file.hpp"

namespace pipestill {
namespace {

void collect_failed(const LedgerEntry& entry, FailedRows& failed) {
  constexpr auto kFailed = kDropReasonNames[static_cast<std::size_t>(DropReason::error)];
  for (std::size_t place = 0; place < entry.rows.size(); ++place) {
    const auto& row = entry.rows[place];
    if (row.outcome == kFailed) failed[entry.step].push_back({.place = place, .dataset = row.dataset, .index = row.index});
  }
}

}  // namespace

LedgerEntry ledger_entry(const StepResult& result) {
  LedgerEntry entry{.step = result.at.step,
                    .epoch = result.at.epoch,
                    .batch = result.at.batch,
                    .student_version = result.student_version,
                    .num_tokens = result.num_tokens,
                    .datum_digest = result.datum_digest,
                    .learning_rate = result.learning_rate,
                    .distill_loss = result.distill_loss,
                    .grad_norm = result.grad_norm};
  entry.rows.reserve(result.rows.size());
  for (const auto& row : result.rows) {
    entry.rows.push_back({.dataset = row.dataset,
                          .index = row.index,
                          .content = row.content,
                          .teacher = row.teacher,
                          .renderer = row.renderer,
                          .outcome = std::string(row.dropped ? kDropReasonNames[static_cast<std::size_t>(*row.dropped)] : kTrained),
                          .num_tokens = row.num_tokens});
  }
  return entry;
}

LedgerObserved ledger_observed(const StepResult& result, Clock::Time now) {
  const auto& cost = result.teacher_cost;
  return {.teacher_latency = cost.latency, .forward_backward = result.train_end - result.train_begin, .time = now, .attempts = cost.attempts, .tokens_paid = cost.tokens_paid};
}

boost::json::object metrics_columns(const LedgerEntry& entry, const LedgerObserved& observed) {
  boost::json::object dropped;
  for (const auto name : kDropReasonNames) dropped[name] = std::ranges::count(entry.rows, name, &LedgerRow::outcome);
  return {{"epoch", entry.epoch},
          {"batch", entry.batch},
          {"distill_loss", or_null(entry.distill_loss)},
          {"num_prompts", entry.rows.size()},
          {"num_tokens", entry.num_tokens},
          {"dropped", std::move(dropped)},
          {"learning_rate", entry.learning_rate},
          {"grad_norm", or_null(entry.grad_norm)},
          {"student_version", or_null(entry.student_version)},
          {"datum_digest", entry.datum_digest},
          {"observed",
           {{"teacher_latency_ms", milliseconds(observed.teacher_latency)},
            {"forward_backward_ms", milliseconds(observed.forward_backward)},
            {"time_s", static_cast<double>(observed.time.count()) / 1e9},
            {"attempts", or_null(observed.attempts)},
            {"tokens_paid", or_null(observed.tokens_paid)}}}};
}

Result<RunTotals> recorded_totals(Ledger& ledger) {
  RunTotals totals;
  for (; totals.steps < ledger.next_step(); ++totals.steps) {
    const auto record = ledger.read(totals.steps);
    if (!record) return fail(record.error());
    const auto& rows = record->entry.rows;
    totals.optim_steps += std::ranges::find(rows, kTrained, &LedgerRow::outcome) != rows.end() ? 1 : 0;
    totals.num_prompts += rows.size();
    totals.num_tokens += record->entry.num_tokens;
    for (std::size_t i = 0; i < kDropReasonNames.size(); ++i) {
      totals.dropped.by_reason[i] += static_cast<std::uint64_t>(std::ranges::count(rows, kDropReasonNames[i], &LedgerRow::outcome));
    }
  }
  return totals;
}

Result<FailedRows> failed_rows(Ledger& ledger) {
  FailedRows failed;
  for (std::uint64_t step = ledger.next_step(); step < ledger.next_step() + ledger.expectations(); ++step) {
    const auto record = ledger.read(step);
    if (!record) return fail(record.error());
    collect_failed(record->entry, failed);
  }
  return failed;
}

Result<FailedRows> failed_rows(LedgerReader& reader) {
  FailedRows failed;
  for (;;) {
    const auto record = reader.next();
    if (!record) return fail(record.error());
    if (!*record) return failed;
    collect_failed((*record)->entry, failed);
  }
}

Result<void> rewrite_metrics(Ledger& ledger, const std::filesystem::path& metrics) {
  auto aside = metrics;
  aside += ".part";
  auto file = OutputFile::open(aside, OutputFile::Mode::truncate);
  if (!file) return fail(std::move(file.error()));
  for (std::uint64_t step = 0; step < ledger.next_step(); ++step) {
    const auto record = ledger.read(step);
    if (!record) return fail(record.error());
    file->write(metrics_line(step, metrics_columns(record->entry, record->observed)));
  }
  if (auto closed = file->close(); !closed) return closed;
  std::error_code error;
  std::filesystem::rename(aside, metrics, error);
  if (error) return fail(ErrorCode::backend_failed, "cannot write " + metrics.string() + ": " + error.message());
  return {};
}

}  // namespace pipestill
