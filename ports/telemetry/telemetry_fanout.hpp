#pragma once
// Several telemetry sinks as one; none at all is a sink that drops everything.
#include <memory>
#include <vector>

#include "ports/telemetry/telemetry.hpp"

namespace pipestill {

/// Passes every call to every sink, in their order.
class TelemetryFanout final : public Telemetry {
 public:
  explicit TelemetryFanout(std::vector<std::shared_ptr<Telemetry>> sinks = {}) : sinks_(std::move(sinks)) {}

  void event(std::string_view name, const boost::json::object& fields) override;
  void span(const Span& span) override;
  void metrics(std::uint64_t step, const boost::json::object& values) override;
  [[nodiscard]] bool wants_spans() const override;  ///< if one of the sinks does
  [[nodiscard]] bool wants_stage_events() const override;

 private:
  const std::vector<std::shared_ptr<Telemetry>> sinks_;
};

}  // namespace pipestill
