#include "nodes/metrics_sink.hpp"

#include <boost/json/object.hpp>
#include <boost/json/value_from.hpp>
#include <utility>

#include "nodes/describe.hpp"
#include "nodes/json_values.hpp"

namespace pipestill {
namespace {

namespace json = boost::json;

json::object columns(const StepResult& result, Clock::Time now) {
  json::object dropped;
  for (std::size_t i = 0; i < kDropReasonNames.size(); ++i) dropped[kDropReasonNames[i]] = result.dropped.by_reason[i];
  return {{"epoch", result.at.epoch},
          {"batch", result.at.batch},
          {"distill_loss", or_null(result.distill_loss)},
          {"num_prompts", result.rows.size()},
          {"num_tokens", result.num_tokens},
          {"dropped", std::move(dropped)},
          {"learning_rate", result.learning_rate},
          {"grad_norm", or_null(result.grad_norm)},
          {"student_version", or_null(result.student_version)},
          {"datum_digest", result.datum_digest},
          {"observed",
           {{"teacher_latency_ms", milliseconds(result.teacher_latency)},
            {"forward_backward_ms", milliseconds(result.train_end - result.train_begin)},
            {"time_s", static_cast<double>(now.count()) / 1e9}}}};
}

}  // namespace

MetricsSink::MetricsSink(std::shared_ptr<Telemetry> telemetry, std::shared_ptr<Clock> clock, std::shared_ptr<RunTotals> totals,
                         std::function<void(const StepResult&)> on_step)
    : telemetry_(std::move(telemetry)), clock_(std::move(clock)), totals_(std::move(totals)), on_step_(std::move(on_step)) {}

Description MetricsSink::describe() { return describe_metrics_sink(); }

void MetricsSink::operator()(StepResult result, graph::Context&) const {
  ++totals_->steps;
  totals_->optim_steps += result.has_trained ? 1 : 0;
  totals_->num_prompts += result.rows.size();
  totals_->num_tokens += result.num_tokens;
  totals_->dropped += result.dropped;
  for (const auto& row : result.rows) {
    if (row.dropped != DropReason::bad) continue;
    telemetry_->event("pipestill.distillation.bad_row", {{"step", result.at.step}, {"dataset", row.dataset}, {"row", row.index}, {"reason", row.why_bad}});
  }
  auto values = columns(result, clock_->now());
  telemetry_->metrics(result.at.step, values);
  values["step"] = result.at.step;
  telemetry_->event("pipestill.distillation.step", values);
  if (on_step_) on_step_(result);
}

}  // namespace pipestill
