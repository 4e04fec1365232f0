#pragma once
// StageTrace: what the engine does, stage by stage, as events and spans of the telemetry port.
#include <memory>

#include "graph/trace.hpp"
#include "ports/telemetry/telemetry.hpp"

namespace pipestill {

/// Events `pipestill.stage.<name>.start`, `.stop` and `.exception`, and a span for a batch's service in each stage, with its waits in the
/// stop event. Only worth its cost where the telemetry wants stage detail.
class StageTrace final : public graph::Trace {
 public:
  explicit StageTrace(std::shared_ptr<Telemetry> telemetry) : telemetry_(std::move(telemetry)) {}

  void started(std::string_view stage, graph::Seq seq, Clock::Time at) noexcept override;
  void ended(const graph::StageSpan& span) noexcept override;
  void failed(const graph::StageSpan& span, const Error& error) noexcept override;

 private:
  std::shared_ptr<Telemetry> telemetry_;
};

}  // namespace pipestill
