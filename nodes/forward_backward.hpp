#pragma once
// forward_backward: one training step a batch.
#include <cstdint>
#include <memory>
#include <optional>

#include "graph/base/clock.hpp"
#include "graph/base/description.hpp"
#include "graph/feedback.hpp"
#include "graph/message.hpp"
#include "nodes/messages.hpp"
#include "nodes/overlap_meter.hpp"
#include "nodes/recipe.hpp"
#include "nodes/student_history.hpp"
#include "ports/telemetry/telemetry.hpp"
#include "ports/training/training_client.hpp"

namespace pipestill {

struct ForwardBackwardOptions {
  std::shared_ptr<TrainingSession> student;
  Recipe::Training training;
  std::uint64_t total_steps = 0;                                           ///< that the learning rate's course is laid over
  std::uint64_t evaluation_every = 0;                                      ///< batches after which the result carries a snapshot; 0: never
  std::optional<graph::Feedback<StudentVersion>> feedback = std::nullopt;  ///< on_policy: where each step's snapshot is published
  std::uint64_t checkpoint_every = 0;                                      ///< batches after which the result carries what a checkpoint holds; 0: never
  std::shared_ptr<StudentHistory> history = nullptr;                       ///< told of every batch that the student has met; null: nobody asks
  std::shared_ptr<OverlapMeter> overlap = nullptr;
  std::shared_ptr<Telemetry> telemetry;
  std::shared_ptr<Clock> clock;
};

/// An asynchronous stage in sequence, one batch at a time (graph/stage.hpp): forward_backward, optim_step and, where they are wanted, snapshot and
/// capture_state are submitted back to back; the first of them that fails is the batch's error, delivered when all have ended. Never with a limit
/// above 1: a batch behind one that fails would be trained on. A batch without a row makes no optimizer step; its result says so, and its
/// version is the one before.
class ForwardBackward {
 public:
  using Output = StepResult;
  explicit ForwardBackward(ForwardBackwardOptions options) : options_(std::make_shared<const ForwardBackwardOptions>(std::move(options))) {}
  static Description describe();

  void operator()(DatumBatch batch, graph::Context& context, Completion<StepResult> done) const;

 private:
  std::shared_ptr<const ForwardBackwardOptions> options_;  // handlers keep it
};

}  // namespace pipestill
