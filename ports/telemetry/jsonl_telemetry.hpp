#pragma once
// Metrics for a program that reads lines: metrics.jsonl.
#include <memory>
#include <mutex>
#include <string>

#include "ports/telemetry/output_file.hpp"
#include "ports/telemetry/telemetry.hpp"

namespace pipestill {

/// {"step":N, ...} and the end of the line. A value that JSON cannot write (NaN, an infinity) is null.
[[nodiscard]] std::string metrics_line(std::uint64_t step, const boost::json::object& values);

/// One metrics_line() a step, in the file before metrics() returns.
/// Events and spans go nowhere.
class JsonlTelemetry final : public Telemetry {
 public:
  [[nodiscard]] static Result<std::unique_ptr<JsonlTelemetry>> open(const std::filesystem::path& path, OutputFile::Mode mode);

  void event(std::string_view, const boost::json::object&) override {}
  void span(const Span&) override {}
  void metrics(std::uint64_t step, const boost::json::object& values) override;
  [[nodiscard]] bool wants_spans() const override { return false; }
  [[nodiscard]] bool wants_stage_events() const override { return false; }
  /// The first write error since open(), ErrorCode::backend_failed; nothing was written after it.
  [[nodiscard]] Result<void> close();

 private:
  explicit JsonlTelemetry(OutputFile file) : file_(std::move(file)) {}
  std::mutex mutex_;  // guards file_
  OutputFile file_;
};

}  // namespace pipestill
