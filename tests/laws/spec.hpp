#pragma once
// A flow, its faults and its stops as data, and what a plain sequential loop says must come out of them.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "graph/engine.hpp"

namespace pipestill::laws {

/// What a stage does with one batch instead of its plain work.
enum class Style {
  // Of a stage that returns its result, of the source, of a session:
  returns_error,
  throws,
  throws_unknown,
  // Of an asynchronous stage, as throws and throws_unknown are too (before the completion has gone anywhere):
  completes_with_error,
  completes_with_error_inside,      // from inside the call
  completes_with_error_twice,       // and then with a value
  completes_with_error_when_unwanted,  // heeds no stop request
  drops_completion,
  drops_completion_later,
  throws_after_giving_away,         // the completion's copy is called later, with a value
  throws_after_completing,          // the copy was called, with a value, before the call threw
  // No failures:
  completes_inside,
  completes_twice,                  // with the value, and then with an error
  completes_when_unwanted,          // heeds no stop request
  hangs,                            // until the stop request; only in runs that are stopped, before the stage that commits
};

[[nodiscard]] bool is_failure(Style style);
[[nodiscard]] const char* name_of(Style style);
/// What the report must say of it: a part of the message, and the code.
[[nodiscard]] std::string message_of(Style style, const std::string& stage, std::uint64_t at);
[[nodiscard]] ErrorCode code_of(Style style);

struct StageSpec {
  enum class Part {
    plain,
    reads,
    trains,    // publishes, or commits in a flow where nothing reads the student
    observes,  // passes the batch on, and holds the snapshot of a batch that is evaluated
  };
  std::string name;
  Part part = Part::plain;
  bool is_in_sequence = false;
  bool is_async = false;
  std::size_t limit = 1;
};

/// Stages by number: 0 the source, 1 ... FlowSpec::stages, and the sink behind them.
struct Fault {
  std::size_t stage = 0;
  std::uint64_t at = 0;  // batch
  Style style = Style::returns_error;
};

struct SessionFault {
  std::size_t session = 0;
  bool is_at_open = false;  // otherwise at close
  Style style = Style::returns_error;
};

struct StopSpec {
  enum class Kind { stop, stop_now, stop_then_stop_now };
  Kind kind = Kind::stop;
  std::chrono::nanoseconds grace{};
  /// From inside stage `first`, when it meets batch `second`; otherwise when `delay` has passed.
  std::optional<std::pair<std::size_t, std::uint64_t>> at_entry = std::nullopt;
  std::chrono::nanoseconds delay{};
  std::chrono::nanoseconds second_delay{};  // from stop to stop_now
};

struct FlowSpec {
  std::uint64_t batches = 40;
  std::optional<std::size_t> staleness = std::nullopt;  // empty: nothing reads the student
  std::vector<StageSpec> stages = {};                   // without source and sink; at most one reads, one trains
  std::uint64_t evaluate_every = 0;                     // 0: never
  std::vector<Fault> faults = {};                       // at most one for a stage and a batch
  std::size_t sessions = 0;
  std::optional<SessionFault> session_fault = std::nullopt;
  std::optional<StopSpec> stop = std::nullopt;
  std::size_t depth = 4;
  std::size_t threads = 1;
  graph::Executor executor = graph::Executor::small;
  bool is_simulated = false;  // the clock
  bool is_watched = false;    // with a trace and a monitor

  [[nodiscard]] std::size_t sink() const { return stages.size() + 1; }
  [[nodiscard]] std::string stage_name(std::size_t stage) const;
  /// The stage that trains; the sink where none does.
  [[nodiscard]] std::size_t trainer() const;
  [[nodiscard]] bool has_observer() const;
  [[nodiscard]] const Fault* fault(std::size_t stage, std::uint64_t at) const;
};

/// One line a fact.
[[nodiscard]] std::string to_text(const FlowSpec& spec);

/// An order-sensitive digest: what a stage, and the student, make of what they met.
[[nodiscard]] std::uint64_t mix(std::uint64_t a, std::uint64_t b);

/// What must come out: batch after batch in one loop, the student that batch n reads kept since batch n - s.
struct Model {
  explicit Model(const FlowSpec& spec);
  std::vector<std::uint64_t> sunk;    // the value that the sink meets, by batch
  std::vector<std::uint64_t> states;  // of the student, by the number of batches that it trained on
  std::optional<Fault> lowest;        // of the failures: the lowest batch's first
};

}  // namespace pipestill::laws
