#pragma once
// CheckpointWriter: writes checkpoints on a thread of its own, while the run goes on.
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "graph/base/clock.hpp"
#include "graph/base/completion.hpp"
#include "nodes/messages.hpp"
#include "ports/checkpoint/checkpoint_store.hpp"
#include "ports/telemetry/telemetry.hpp"

namespace pipestill {

struct CheckpointWriterOptions {
  CheckpointStore store;
  std::map<std::string, std::string> identity = {};
  /// Called on the writer's thread when all batches before a checkpoint are recorded: makes them as durable as it. Null: there is no ledger.
  std::function<Result<void>()> sync_ledger = nullptr;
  std::shared_ptr<Telemetry> telemetry = nullptr;
  std::shared_ptr<Clock> clock = nullptr;
};

/// One checkpoint is written at a time, and none waits but the one that is offered: who offers it goes on when it is taken. A checkpoint gets its name
/// only when all batches before it are recorded, so that it is never ahead of the ledger. After an error nothing more is written. Thread-safe; telemetry
/// gets `pipestill.distillation.checkpoint` for every checkpoint, and `pipestill.distillation.checkpoint_wait` where one had to wait for the one before.
class CheckpointWriter {
 public:
  explicit CheckpointWriter(CheckpointWriterOptions options);
  ~CheckpointWriter();  ///< finish(), without its result

  /// Takes the student that has met all batches below `step`, and calls `taken` then, on the writer's thread: when the one before is written. An error of
  /// that one is `taken`'s error, and `cancelled` is, where `stop` is requested before. One call outstanding at most.
  void save(std::uint64_t step, std::shared_ptr<const CapturedStudent> student, std::stop_token stop, Completion<std::monostate> taken);
  /// All batches below `steps` have gone the whole way; `ledger_digest` is what they come to (CheckpointFacts). One step after the other.
  void recorded(std::uint64_t steps, std::string ledger_digest);
  /// Whether the last student that was taken is that of this step.
  [[nodiscard]] bool has_taken(std::uint64_t step) const;
  /// What went wrong so far.
  [[nodiscard]] Result<void> health() const;
  /// Waits for what was taken; what is not recorded by now never will be, and is forgotten. The first error.
  [[nodiscard]] Result<void> finish();

 private:
  struct Offer {
    std::uint64_t step;
    std::shared_ptr<const CapturedStudent> student;
    std::stop_token stop;
    Completion<std::monostate> taken;
    std::unique_ptr<std::stop_callback<std::function<void()>>> on_stop = nullptr;  // wakes the writer's thread. Never let go of under the mutex, which it takes
  };

  void work();
  /// Waits until all batches before `step` are recorded, and gives back what is offered meanwhile and no longer wanted. Nothing: they never will be.
  [[nodiscard]] std::optional<std::string> await_digest(std::uint64_t step);
  [[nodiscard]] Result<void> write(const Offer& offer, std::string ledger_digest);

  CheckpointWriterOptions options_;  // of the writer's thread
  mutable std::mutex mutex_;         // guards what follows
  std::condition_variable changed_;
  std::optional<Offer> offer_;
  std::optional<std::uint64_t> awaited_;    // step of the last one taken, whose digest is wanted
  std::optional<std::string> digest_;       // of the ledger at that step, once it is recorded
  bool is_writing_ = false, is_finishing_ = false;
  std::optional<Error> error_;
  std::thread thread_;  // last: it sees all others
};

}  // namespace pipestill
