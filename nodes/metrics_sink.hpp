#pragma once
// metrics_sink: what a batch came to, for people and for comparison.
#include <cstdint>
#include <functional>
#include <memory>

#include "graph/base/clock.hpp"
#include "graph/base/description.hpp"
#include "graph/message.hpp"
#include "nodes/checkpoint_writer.hpp"
#include "nodes/messages.hpp"
#include "nodes/run_totals.hpp"
#include "ports/checkpoint/ledger.hpp"
#include "ports/telemetry/telemetry.hpp"

namespace pipestill {

/// A sink (graph/stage.hpp). The ledger, if there is one, gets the batch before anybody hears of it; what it refuses fails the batch. Telemetry::metrics
/// gets the determined columns, which two runs of one recipe have in common to the last digit, and apart from them the times (metrics_columns()). Every
/// row that was skipped as bad is an event with its reason, and counts in `num_prompts` and `dropped.bad`.
class MetricsSink {
 public:
  /// `totals` and `ledger` are written by the sink alone, and read when the run is over. `on_step` may be empty, `ledger` and `checkpoints` null.
  MetricsSink(std::shared_ptr<Telemetry> telemetry, std::shared_ptr<Clock> clock, std::shared_ptr<RunTotals> totals,
              std::function<void(const StepResult&)> on_step, std::shared_ptr<Ledger> ledger = nullptr, std::shared_ptr<CheckpointWriter> checkpoints = nullptr);
  static Description describe();

  [[nodiscard]] Result<void> operator()(StepResult result, graph::Context& context) const;

 private:
  std::shared_ptr<Telemetry> telemetry_;
  std::shared_ptr<Clock> clock_;
  std::shared_ptr<RunTotals> totals_;
  std::function<void(const StepResult&)> on_step_;
  std::shared_ptr<Ledger> ledger_;
  std::shared_ptr<CheckpointWriter> checkpoints_;
};

}  // namespace pipestill
