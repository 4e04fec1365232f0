#include "nodes/metrics_sink.hpp"

#include <utility>

#include "nodes/describe.hpp"
#include "nodes/ledger_columns.hpp"

namespace pipestill {
MetricsSink::MetricsSink(std::shared_ptr<Telemetry> telemetry, std::shared_ptr<Clock> clock, std::shared_ptr<RunTotals> totals,
                         std::function<void(const StepResult&)> on_step, std::shared_ptr<Ledger> ledger, std::shared_ptr<CheckpointWriter> checkpoints)
    : telemetry_(std::move(telemetry)), clock_(std::move(clock)), totals_(std::move(totals)), on_step_(std::move(on_step)), ledger_(std::move(ledger)), checkpoints_(std::move(checkpoints)) {}

Description MetricsSink::describe() { return describe_metrics_sink(); }

Result<void> MetricsSink::operator()(StepResult result, graph::Context&) const {
  const auto entry = ledger_entry(result);
  auto observed = ledger_observed(result, clock_->now());
  std::string digest;
  if (ledger_) {  // first: what it refuses has not happened
    const bool may_be_again = ledger_->expectations() > 0;
    const auto appended = ledger_->append(entry, observed);
    if (!appended) return fail(appended.error());
    if (may_be_again) {  // what was paid adds up
      const auto record = ledger_->read(result.at.step);
      if (!record) return fail(record.error());
      observed = record->observed;
    }
    digest = to_hex(*appended);
  }
  ++totals_->steps;
  totals_->optim_steps += result.has_trained ? 1 : 0;
  totals_->num_prompts += result.rows.size();
  totals_->num_tokens += result.num_tokens;
  totals_->dropped += result.dropped;
  for (const auto& row : result.rows) {
    if (row.dropped != DropReason::bad) continue;
    telemetry_->event("pipestill.distillation.bad_row", {{"step", result.at.step}, {"dataset", row.dataset}, {"row", row.index}, {"reason", row.why_bad}});
  }
  auto values = metrics_columns(entry, observed);
  telemetry_->metrics(result.at.step, values);
  values["step"] = result.at.step;
  telemetry_->event("pipestill.distillation.step", values);
  if (on_step_) on_step_(result);
  if (checkpoints_) checkpoints_->recorded(result.at.step + 1, std::move(digest));
  return {};
}

}  // namespace pipestill
