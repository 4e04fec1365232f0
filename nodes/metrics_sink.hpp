#pragma once
// metrics_sink: what a batch came to, for people and for comparison.
#include <cstdint>
#include <functional>
#include <memory>

#include "graph/base/clock.hpp"
#include "graph/base/description.hpp"
#include "graph/message.hpp"
#include "nodes/messages.hpp"
#include "ports/telemetry/telemetry.hpp"

namespace pipestill {

/// A run's sums over its completed batches.
struct RunTotals {
  std::uint64_t steps = 0;        ///< batches
  std::uint64_t optim_steps = 0;  ///< of them, those that trained
  std::uint64_t num_prompts = 0, num_tokens = 0;
  DropCounts dropped = {};
};

/// A sink (graph/stage.hpp). Telemetry::metrics gets the determined columns, which two runs of one recipe have in common to the last digit,
/// and apart from them, in the object `observed`, the times. `distill_loss` and `grad_norm` are null where nothing was trained. Every row
/// that was skipped as bad is an event with its reason, and counts in `num_prompts` and `dropped.bad`.
class MetricsSink {
 public:
  /// `totals` is written by the sink alone, and read when the run is over. `on_step` may be empty.
  MetricsSink(std::shared_ptr<Telemetry> telemetry, std::shared_ptr<Clock> clock, std::shared_ptr<RunTotals> totals,
              std::function<void(const StepResult&)> on_step);
  static Description describe();

  void operator()(StepResult result, graph::Context& context) const;

 private:
  std::shared_ptr<Telemetry> telemetry_;
  std::shared_ptr<Clock> clock_;
  std::shared_ptr<RunTotals> totals_;
  std::function<void(const StepResult&)> on_step_;
};

}  // namespace pipestill
