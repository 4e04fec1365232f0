#pragma once
// StageTrace: what the engine does, stage by stage, as events and spans of the telemetry port.
#include <memory>

#include "graph/trace.hpp"
#include "ports/telemetry/telemetry.hpp"

namespace pipestill {

/// Events `pipestill.stage.<name>.start`, `.stop` and `.exception`, and a span for a batch's service in each stage, with its waits in the
/// stop event. Makes what the telemetry wants, and the exceptions in any case.
class StageTrace final : public graph::Trace {
 public:
  explicit StageTrace(std::shared_ptr<Telemetry> telemetry)
      : telemetry_(std::move(telemetry)), has_spans_(telemetry_->wants_spans()), has_events_(telemetry_->wants_stage_events()) {}

  void started(std::string_view stage, graph::Seq seq, Clock::Time at) noexcept override;
  void ended(const graph::StageSpan& span) noexcept override;
  void failed(const graph::StageSpan& span, const Error& error) noexcept override;

 private:
  void add_span(const graph::StageSpan& span);

  const std::shared_ptr<Telemetry> telemetry_;
  const bool has_spans_, has_events_;
};

}  // namespace pipestill
