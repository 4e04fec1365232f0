#pragma once
// run(): one flow, once, to its end.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "graph/base/clock.hpp"
#include "graph/base/error.hpp"
#include "graph/flow.hpp"
#include "graph/message.hpp"
#include "graph/monitor.hpp"
#include "graph/trace.hpp"

namespace pipestill::graph {

/// Which executor runs the flow. Both run the same stages to the same result.
enum class Executor {
  flow_graph,  ///< oneTBB flow graph, in an arena of its own
  small,       ///< a few threads of our own; with one thread the order of events is a function of the completions alone
};

/// The oldest batch under way, and for how long it has been where it is.
struct StalledBatch {
  std::string stage;  ///< the source's name where no batch is under way
  Seq seq;
  bool is_in_service = false;  ///< or waits before the stage
  std::chrono::nanoseconds age{};
};

/// Nothing moves: no batch was admitted, began a stage or left one.
struct Stall {
  StalledBatch oldest;
  std::chrono::nanoseconds duration{};
};
/// One sentence: stage, batch, age.
[[nodiscard]] std::string to_text(const Stall& stall);

struct EngineOptions {
  Seq first = {};  ///< number of the source's first batch: that of another run's cut, which this one goes on from. Versions count on from there too
  std::size_t depth = 4;     ///< credits: batches between the source and retirement; 1 is the sequential schedule
  /// That run stages, the caller's among them; 0: one a core. Models compute on threads of their own. More than cores raise oneTBB's limit in the whole process for as
  /// long as the run takes; a smaller tbb::global_control of the process's own stands.
  std::size_t threads = 0;
  Executor executor = Executor::flow_graph;
  std::stop_token stop = {};      ///< a request closes the source; what is in flight gets stop_grace to finish
  std::stop_token stop_now = {};  ///< a request makes the cut at once
  std::chrono::nanoseconds stop_grace = std::chrono::seconds(5);
  /// Empty: a SystemClock of the run's own. A SimulatedClock needs Executor::small with one thread, which advances it
  /// when nothing else is left to do.
  std::shared_ptr<Clock> clock = nullptr;
  Trace* trace = nullptr;                       ///< outlives the run; null costs nothing
  std::shared_ptr<Monitor> monitor = nullptr;   ///< shows the run while it goes on
  /// Byte credits: a batch waits before its first stage until what it may need at most (Context::bytes) fits beside the batches under way. The oldest
  /// batch never waits. 0: batches are counted by `depth` alone.
  std::uint64_t depth_bytes = 0;
  /// Called on the clock's thread when nothing has moved for `stall_report`, and again after twice as long, ... Neither throws nor blocks. Null: nobody watches.
  std::function<void(const Stall&)> on_stall = nullptr;
  std::chrono::nanoseconds stall_report = std::chrono::seconds(60);
  /// When nothing has moved for so long, the oldest batch fails with ErrorCode::backend_failed. 0: a run waits for ever.
  std::chrono::nanoseconds stall_timeout{};
  /// Called when a stop makes the cut (at once, or after the grace), maybe more than once: what only observes may now be dropped.
  std::function<void()> on_cut = nullptr;
};

/// Where a stage's messages spent their time. Sums over messages; tombstones are not counted.
struct StageReport {
  std::string name;
  std::uint64_t messages = 0;
  std::chrono::nanoseconds busy{};          ///< time with at least one message in service
  std::chrono::nanoseconds service{};       ///< summed over messages
  std::chrono::nanoseconds order_wait{};    ///< for a predecessor
  std::chrono::nanoseconds version_wait{};  ///< for its version of the student
  std::chrono::nanoseconds limit_wait{};    ///< for a free place
  std::chrono::nanoseconds p50{}, p99{};    ///< of the service time, within 4 %
};

struct RunReport {
  enum class Status {
    finished,  ///< the source came to its end, and every batch was completed
    stopped,   ///< on request; batches before `cut` are complete
    failed,    ///< see `failure`
  };
  struct Failure {
    std::string stage;        ///< or a session's name
    std::optional<Seq> seq;   ///< of the lowest batch that failed; empty: not at a batch
    Error error;
  };

  Status status = Status::finished;
  std::uint64_t admitted = 0;   ///< batches that the source yielded; each retires once
  std::uint64_t retired = 0;
  std::uint64_t completed = 0;  ///< retired by way of every stage; the others are tombstones
  Seq cut;                      ///< batches from here on count as never begun; the first one's number and `admitted` together, if nothing was cut
  /// The newest student that was published: how many batches have trained it, those before the first one among them. Above `cut` where a stage behind training failed, which had more in flight.
  Version version;
  std::optional<Failure> failure = std::nullopt;
  std::vector<Failure> close_failures = {};     ///< sessions that did not close cleanly
  std::vector<StageReport> stages = {};         ///< in the flow's order, without the source
  std::chrono::nanoseconds byte_wait{};         ///< that batches waited for memory (EngineOptions::depth_bytes), summed
  std::uint64_t peak_bytes = 0;                 ///< reserved at once, at most
  std::chrono::nanoseconds wall{};              ///< from the source's start to the end of the drain, without sessions
};

/// Blocks until every admitted batch has retired and the sessions are closed. Safe inside a TBB task. Several runs may go on at once.
/// Invalid options (depth 0, a SimulatedClock with threads) are ErrorCode::invalid_input in the report's failure.
[[nodiscard]] RunReport run(ClosedFlow flow, const EngineOptions& options);

}  // namespace pipestill::graph
