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

class Run;

/// A credit, and the batch that holds it: depth slots go round from source to sink and back.
/// Owned by the stage where it is, but for what says otherwise.
struct Slot {
  Run* run = nullptr;
  Context context;
  Payload payload;        // empty in a tombstone
  Clock::Time since{};    // when it left the stage before
  std::stop_source stop;  // for the slot's life: once it is requested, nothing is admitted any more
  // Of the stage that it is in.
  std::size_t stage = 0;
  StageSpan span;
  // Of an asynchronous one: how many of the call's return and its answer are still to come, and what they were.
  std::atomic<int> to_come{0};
  std::optional<Error> thrown;
  Result<Payload> answer;
  bool has_place = false;  // got it while it waited; the executor's
  // The run's, under its locks.
  std::optional<Seq> live_seq;
  std::uint64_t reserved_bytes = 0;
  // For the watchdog, which reads them at any time.
  std::atomic<std::size_t> at_stage{0};
  std::atomic<bool> is_in_service{false};
  std::atomic<Clock::Time::rep> there_since{0};
};

/// What an executor does when a stage that completes later has completed. From any thread, maybe before Run::start() returns.
class Passage {
 public:
  virtual void passed(std::size_t stage, Slot& slot) noexcept = 0;

 protected:
  ~Passage() = default;
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
  [[nodiscard]] std::size_t depth() const { return slots_.size(); }
  [[nodiscard]] Seq first() const { return options_.first; }
  /// Who is told of passed stages; before the first batch.
  void attach(Passage& passage) { passage_ = &passage; }

  /// The source's step, by one caller at a time: fills the slot. False at the end, and ever after.
  [[nodiscard]] bool admit(Slot& slot);

  /// Whether a batch waits, between the source and the first stage, until its bytes are granted.
  [[nodiscard]] bool counts_bytes() const { return options_.depth_bytes > 0; }
  /// Grants, in sequence, what fits by now; returns how many batches that were. To be called after an admission, a passed stage, a retirement.
  [[nodiscard]] std::size_t grant_bytes();
  [[nodiscard]] bool has_bytes(Seq seq) const;

  /// Whether the version that batch `seq` reads has been issued. Versions are issued in sequence, and the publishing stage's passing issues one.
  [[nodiscard]] bool has_version(Seq seq) const;
  /// Versions that are there before the first batch.
  [[nodiscard]] std::size_t initial_versions() const { return plan_.feedback ? plan_.feedback->staleness.value + 1 : 0; }

  /// Takes the slot through a stage that returns its result. Never throws; a failure leaves a tombstone.
  void call(std::size_t stage, Slot& slot);
  /// Takes the slot through a stage that completes later. The executor's passed() is called once; nothing here touches the slot after it.
  void start(std::size_t stage, Slot& slot);
  /// After the sink: the batch has left, and its slot may be admitted again.
  void retire(Slot& slot);

  /// The cut falls at the first batch that has not been committed. Calls stop callbacks.
  void cut_now();

  [[nodiscard]] RunReport report() const;
  [[nodiscard]] std::vector<StageGauge> gauges() const;
  /// Changes whenever a batch is admitted, begins a stage, leaves one or retires.
  [[nodiscard]] std::uint64_t movements() const;
  /// Where the oldest batch is; the source if there is none.
  [[nodiscard]] StalledBatch oldest() const;
  /// Ends the run at the oldest batch.
  void fail_stalled(const StalledBatch& batch, Error error) { fail_at(batch.seq, batch.stage, std::move(error)); }

 private:
  static constexpr std::uint64_t kNoCut = std::numeric_limits<std::uint64_t>::max();
  struct IssuedVersion {
    Lease lease;  // of a tombstone: empty, and only tombstones take it
    Clock::Time at{};
  };

  [[nodiscard]] bool begin(std::size_t stage, Slot& slot);
  void finish(Slot& slot, Result<Payload>&& result);
  void pass_tombstone(Slot& slot);
  IssuedVersion take_version(Seq seq);
  void issue_version(Slot& slot, bool is_tombstone, Clock::Time at);
  void leave(Slot& slot, std::size_t next_stage, Clock::Time at);
  void settle_bytes(Slot& slot);
  void arrive(Slot& slot);
  static void deliver(void* slot, Result<Payload>&& result);
  [[nodiscard]] bool commit(Seq seq);
  void fail_at(Seq seq, const std::string& stage, Error error);
  void lower_cut(std::unique_lock<std::mutex> lock, std::uint64_t cut);
  [[nodiscard]] Seq next_seq() const { return {options_.first.value + admitted_}; }

  Plan plan_;
  const EngineOptions options_;
  Clock& clock_;
  Passage* passage_ = nullptr;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::unique_ptr<Tally[]> tallies_;
  Clock::Time began_{};

  // Batches from here on count as never begun. Only ever lowered, under mutex_; read without.
  std::atomic<std::uint64_t> cut_{kNoCut};

  mutable std::mutex mutex_;  // guards the five below and every slot's live_seq
  std::optional<RunReport::Failure> failure_;
  std::uint64_t admitted_ = 0, retired_ = 0, completed_ = 0;  // how many
  std::uint64_t committed_;  // batches below this one were submitted to the committing stage
  bool is_source_at_end_ = false;
  bool is_source_closed_ = false;  // the source's caller only

  mutable std::mutex byte_mutex_;  // guards the six below and every slot's reserved_bytes
  std::deque<Slot*> ungranted_;    // in sequence
  std::uint64_t granted_;          // batches below this one
  std::uint64_t granted_alive_ = 0;
  std::uint64_t reserved_ = 0, peak_reserved_ = 0;
  std::chrono::nanoseconds byte_wait_{};

  mutable std::mutex version_mutex_;  // guards the four below
  std::deque<std::optional<IssuedVersion>> versions_;  // of batches first_version_, first_version_ + 1, ...
  std::uint64_t first_version_;
  std::uint64_t published_;
  std::shared_ptr<const void> newest_;
};

/// Return when every admitted batch has retired.
void run_on_flow_graph(Run& run, std::size_t threads);
void run_small(Run& run, std::size_t threads, Clock& clock);

}  // namespace pipestill::graph::detail
