#pragma once
// Telemetry for a person who reads a log.
#include <memory>

#include "ports/telemetry/telemetry.hpp"

namespace spdlog {
class logger;
}

namespace pipestill {

/// Events at level debug, the numbers among the metrics at level info (digests and the like are for metrics.jsonl), spans nowhere. Wants stage events if the logger shows debug.
class SpdlogTelemetry final : public Telemetry {
 public:
  /// Metrics of every step that `log_every` divides; 0: of none.
  SpdlogTelemetry(std::shared_ptr<spdlog::logger> logger, std::uint64_t log_every);

  void event(std::string_view name, const boost::json::object& fields) override;
  void span(const Span&) override {}
  void metrics(std::uint64_t step, const boost::json::object& values) override;
  [[nodiscard]] bool wants_spans() const override { return false; }
  [[nodiscard]] bool wants_stage_events() const override;

 private:
  const std::shared_ptr<spdlog::logger> logger_;
  const std::uint64_t log_every_;
};

}  // namespace pipestill
