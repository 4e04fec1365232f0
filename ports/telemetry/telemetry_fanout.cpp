#include "ports/telemetry/telemetry_fanout.hpp"

#include <algorithm>

namespace pipestill {

void TelemetryFanout::event(std::string_view name, const boost::json::object& fields) {
  for (const auto& sink : sinks_) sink->event(name, fields);
}

void TelemetryFanout::span(const Span& span) {
  for (const auto& sink : sinks_) sink->span(span);
}

void TelemetryFanout::metrics(std::uint64_t step, const boost::json::object& values) {
  for (const auto& sink : sinks_) sink->metrics(step, values);
}

bool TelemetryFanout::wants_spans() const {
  return std::any_of(sinks_.begin(), sinks_.end(), [](const auto& sink) { return sink->wants_spans(); });
}

bool TelemetryFanout::wants_stage_events() const {
  return std::any_of(sinks_.begin(), sinks_.end(), [](const auto& sink) { return sink->wants_stage_events(); });
}

}  // namespace pipestill
