#pragma once
// A student that exists only as latencies and hashes: tests and benchmarks of scheduling.
#include <memory>

#include "graph/base/clock.hpp"
#include "graph/base/description.hpp"
#include "ports/simulated/latency.hpp"
#include "ports/simulated/session_counters.hpp"
#include "ports/training/training_client.hpp"

namespace pipestill {

struct SimulatedTrainingOptions {
  LatencyOptions latency = {.mean_ms = 10};             ///< of forward_backward and forward
  LatencyOptions snapshot_latency = {.mean_ms = 10};    ///< of a request to a snapshot
  int vocab_size = 256;                                 ///< of the snapshots' answers
  std::int64_t fail_at_step = -1;                       ///< forward_backward fails while so many optimizer steps have been taken; -1: never
  bool repeatable = true;                               ///< false: snapshots give the same request another answer each time
  std::shared_ptr<SessionCounters> counters = nullptr;  ///< of training sessions
  std::shared_ptr<SessionCounters> snapshot_counters = nullptr;  ///< of snapshots

  /// ErrorCode::invalid_input, naming the field.
  [[nodiscard]] Result<void> validate() const;
};

/// The weights are one SHA-256 digest. forward_backward hashes them with the datums' digest and the loss (its micro_batch_rows too, which
/// would round a real gradient otherwise) into a gradient; optim_step hashes weights, gradient and parameters into the next weights. So
/// equal weights at the end mean the same batches in the same order, with the same parameters. A loss is a number in (0, 4) from a hash of
/// weights, datums and loss. Datums are not looked into.
///
/// One operation is in service at a time; only forward_backward and forward take time: the latency's draw for the number of such calls made
/// before in this session. Everything completes through the clock. A stopped operation that waits completes at once; its turn is still its
/// turn, so that an optim_step behind it fails and one before it does not. optim_step reports the code of the forward_backward that failed
/// before it. Any model name opens; a checkpoint, or a directory with `simulated.json`, gives the state that was saved there.
class SimulatedTrainingClient final : public TrainingClient {
 public:
  /// `options` are valid.
  SimulatedTrainingClient(SimulatedTrainingOptions options, std::shared_ptr<Clock> clock);
  [[nodiscard]] static Description describe();

  void start_session(ModelRef model, std::uint64_t init_seed, std::stop_token stop,
                     Completion<std::unique_ptr<TrainingSession>> done) override;
  [[nodiscard]] Result<std::string> model_identity(const ModelRef& model) const override;
  [[nodiscard]] TrainingCapabilities capabilities() const override;

 private:
  const SimulatedTrainingOptions options_;
  const std::shared_ptr<Clock> clock_;
};

}  // namespace pipestill
