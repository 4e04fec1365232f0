#pragma once
// A run as a picture: the Trace Event Format that Perfetto and chrome://tracing open.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "graph/base/clock.hpp"
#include "ports/telemetry/output_file.hpp"
#include "ports/telemetry/telemetry.hpp"

namespace pipestill {

/// A JSON array of events. A span is a complete event ("X") on a named thread of its track; where spans of one track overlap, as those of
/// batches in flight do, the track gets further threads "<track> (2)", ... so that every span is seen. Events are instants ("i") on the
/// track "events", at the clock's time, except `pipestill.stage.*.start` and `.stop`, which the spans show better. Times are microseconds
/// since the clock began. A span costs a look-up and a copy of 40 bytes under a mutex; text is made when `buffer_spans` of them wait, and
/// at the end.
class ChromeTrace final : public Telemetry {
 public:
  [[nodiscard]] static Result<std::unique_ptr<ChromeTrace>> open(const std::filesystem::path& path, std::shared_ptr<const Clock> clock,
                                                                 std::size_t buffer_spans = 8192);
  ~ChromeTrace() override;  ///< closes if close() was not called, and reports nothing

  void event(std::string_view name, const boost::json::object& fields) override;
  void span(const Span& span) override;
  void metrics(std::uint64_t, const boost::json::object&) override {}
  [[nodiscard]] bool wants_spans() const override { return true; }
  [[nodiscard]] bool wants_stage_events() const override { return false; }
  /// Completes the file. The first write error since open(), ErrorCode::backend_failed. Later calls of anything change nothing.
  [[nodiscard]] Result<void> close();

 private:
  struct Lane {
    int thread;
    std::chrono::nanoseconds end;  ///< of its last span
  };
  struct Track {
    std::string name;
    std::vector<Lane> lanes = {};
  };
  struct Name {
    std::string text, quoted;
  };
  struct Record {
    std::uint32_t name;  ///< in names_
    int thread;
    std::uint64_t seq;
    std::chrono::nanoseconds begin, end;
  };

  ChromeTrace(OutputFile file, std::shared_ptr<const Clock> clock, std::size_t buffer_spans);
  int lane_of(const Span& span);
  int add_thread(const std::string& name);
  void append(std::string_view object);
  void flush();

  const std::shared_ptr<const Clock> clock_;
  const std::size_t buffer_spans_;
  std::mutex mutex_;  // guards what follows
  OutputFile file_;
  bool is_closed_ = false;
  bool is_first_ = true;
  int threads_ = 0;
  std::vector<Track> tracks_;  // a handful, like names_: a search from the front beats a map
  std::vector<Name> names_;
  std::vector<Record> records_;
  std::string text_;
};

}  // namespace pipestill
