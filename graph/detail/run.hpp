#pragma once
// Run: the laws that both executors share. Credits, versions, the cut, the report. An executor decides only who does what when.
#include <atomic>
#include <cstdint>
#include <algorithm>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <vector>

#include "graph/detail/tally.hpp"
#include "graph/engine.hpp"

namespace pipestill::graph::detail {

/// A credit, and the batch that holds it: depth slots go round from source to sink and back.
/// Owned by the stage where it is; `Run` alone touches `live_seq`.
struct Slot {
  Context context;
  Payload payload;        // empty in a tombstone
  Clock::Time since{};    // when it left the stage before
  std::stop_source stop;  // for the slot's life: once it is requested, nothing is admitted any more
  std::optional<Seq> live_seq;
};

/// Thread-safe, under the rule that a slot is in one place at a time.
class Run {
 public:
  Run(Plan plan, const EngineOptions& options, Clock& clock);
  ~Run();
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  [[nodiscard]] const std::vector<StagePlan>& stages() const { return plan_.stages; }
  [[nodiscard]] std::vector<std::unique_ptr<Slot>>& slots() { return slots_; }

  /// The source's step, by one caller at a time: fills the slot. False at the end, and ever after.
  [[nodiscard]] bool admit(Slot& slot);
  /// Whether the version that batch `seq` reads has been issued. Versions are issued in sequence, and the publishing stage's passing issues one.
  [[nodiscard]] bool has_version(Seq seq) const;
  /// Versions that are there before the first batch.
  [[nodiscard]] std::size_t initial_versions() const { return plan_.feedback ? plan_.feedback->staleness.value + 1 : 0; }

  /// Takes the slot through a stage that returns its result. Never throws; a failure leaves a tombstone.
  void call(std::size_t stage, Slot& slot);
  /// Takes the slot through a stage that completes later. `done` is called once, from any thread, maybe before this returns;
  /// it is the last thing that touches the slot here.
  void start(std::size_t stage, Slot& slot, std::function<void()> done);
  /// After the sink: the batch has left, and its slot may be admitted again.
  void retire(Slot& slot);

  /// The cut falls at the first batch that has not been committed. Calls stop callbacks.
  void cut_now();

  [[nodiscard]] RunReport report() const;
  [[nodiscard]] std::vector<StageGauge> gauges() const;

 private:
  static constexpr std::uint64_t kNoCut = std::numeric_limits<std::uint64_t>::max();
  struct IssuedVersion {
    Lease lease;  // of a tombstone: empty, and only tombstones take it
    Clock::Time at{};
  };

  StageSpan begin(std::size_t stage, Slot& slot, bool& is_wanted);
  void finish(std::size_t stage, Slot& slot, StageSpan span, Result<Payload> result);
  void pass_tombstone(std::size_t stage, Slot& slot, StageSpan span);
  IssuedVersion take_version(Seq seq);
  void issue_version(Slot& slot, bool is_tombstone);
  [[nodiscard]] bool commit(Seq seq);
  void fail_at(Seq seq, const std::string& stage, Error error);
  void lower_cut(std::unique_lock<std::mutex> lock, std::uint64_t cut);

  Plan plan_;
  const EngineOptions options_;
  Clock& clock_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::unique_ptr<Tally[]> tallies_;
  Clock::Time began_{};

  // Batches from here on count as never begun. Only ever lowered, under mutex_; read without.
  std::atomic<std::uint64_t> cut_{kNoCut};

  mutable std::mutex mutex_;  // guards the five below and every slot's live_seq
  std::optional<RunReport::Failure> failure_;
  std::uint64_t admitted_ = 0, retired_ = 0, completed_ = 0;
  std::uint64_t committed_ = 0;  // batches below this one were submitted to the committing stage
  bool is_source_at_end_ = false;
  bool is_source_closed_ = false;  // the source's caller only

  mutable std::mutex version_mutex_;  // guards the four below
  std::deque<std::optional<IssuedVersion>> versions_;  // of batches first_version_, first_version_ + 1, ...
  std::uint64_t first_version_ = 0;
  std::uint64_t published_ = 0;
  std::shared_ptr<const void> newest_;
};

/// Return when every admitted batch has retired.
void run_on_flow_graph(Run& run, std::size_t threads);
void run_small(Run& run, std::size_t threads, Clock& clock);

}  // namespace pipestill::graph::detail
