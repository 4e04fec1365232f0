#pragma once
// The telemetry port: events, spans and per-step metrics go out here. Nothing comes back, and no value depends on it.
#include <boost/json/object.hpp>
#include <chrono>
#include <cstdint>
#include <string_view>

namespace pipestill {

/// A stretch of time on one track (a stage, a model). Times are since the run's clock began.
struct Span {
  std::string_view track, name;
  std::uint64_t seq = 0;
  std::chrono::nanoseconds begin{}, end{};
};

/// Thread-safe. Calls neither throw nor block on anything slower than a file write; a sink that fails goes silent and says so once in its own way.
class Telemetry {
 public:
  virtual ~Telemetry() = default;
  /// `name` as in `pipestill.distillation.step` or `pipestill.stage.<stage>.start|stop|exception`.
  virtual void event(std::string_view name, const boost::json::object& fields) = 0;
  virtual void span(const Span& span) = 0;
  /// One line a step.
  virtual void metrics(std::uint64_t step, const boost::json::object& values) = 0;
  /// Whether spans, and the events `pipestill.stage.*.start` and `.stop`, are worth making: they cost time on every batch and stage.
  [[nodiscard]] virtual bool wants_spans() const = 0;
  [[nodiscard]] virtual bool wants_stage_events() const = 0;
};

}  // namespace pipestill
