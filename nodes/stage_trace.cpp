#include "nodes/stage_trace.hpp"

#include <exception>
#include <string>

#include "nodes/json_values.hpp"

namespace pipestill {
namespace {

std::string event_name(std::string_view stage, std::string_view what) {
  return "pipestill.stage." + std::string(stage) + "." + std::string(what);
}

/// Telemetry is never a reason to end a run: an event that finds no memory is lost.
template <class F>
void without_throwing(F f) noexcept {
  try {
    f();
  } catch (const std::exception&) {
  }
}

}  // namespace

void StageTrace::started(std::string_view stage, graph::Seq seq, Clock::Time at) noexcept {
  if (!has_events_) return;
  without_throwing([&] { telemetry_->event(event_name(stage, "start"), {{"seq", seq.value}, {"time_ms", milliseconds(at)}}); });
}

void StageTrace::add_span(const graph::StageSpan& span) {
  if (has_spans_) telemetry_->span({.track = span.stage, .name = span.stage, .seq = span.seq.value, .begin = span.started, .end = span.ended});
}

void StageTrace::ended(const graph::StageSpan& span) noexcept {
  without_throwing([&] {
    add_span(span);
    if (!has_events_) return;
    telemetry_->event(event_name(span.stage, "stop"), {{"seq", span.seq.value},
                                                       {"time_ms", milliseconds(span.ended)},
                                                       {"order_wait_ms", milliseconds(span.in_order - span.arrived)},
                                                       {"version_wait_ms", milliseconds(span.admissible - span.in_order)},
                                                       {"limit_wait_ms", milliseconds(span.started - span.admissible)},
                                                       {"service_ms", milliseconds(span.ended - span.started)}});
  });
}

void StageTrace::failed(const graph::StageSpan& span, const Error& error) noexcept {
  without_throwing([&] {
    add_span(span);
    telemetry_->event(event_name(span.stage, "exception"),
                      {{"seq", span.seq.value}, {"time_ms", milliseconds(span.ended)}, {"message", error.message}});
  });
}

}  // namespace pipestill
