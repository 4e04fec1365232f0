#pragma once
// checkpoint: hands the student over to be saved now and then, while it goes on learning.
#include <memory>

#include "graph/base/clock.hpp"
#include "graph/base/description.hpp"
#include "graph/message.hpp"
#include "nodes/checkpoint_writer.hpp"
#include "nodes/messages.hpp"

namespace pipestill {

/// An asynchronous stage in sequence, before the sink (graph/stage.hpp): where a batch carries a captured student, the writer takes it, and the batch passes
/// when that is so: at once, unless the checkpoint before is still being written. The batch itself passes unchanged. A checkpoint that could not be written
/// fails the first batch that comes by afterwards.
class Checkpointing {
 public:
  using Output = StepResult;
  Checkpointing(std::shared_ptr<CheckpointWriter> writer, std::shared_ptr<Clock> clock);
  static Description describe();

  void operator()(StepResult result, graph::Context& context, Completion<StepResult> done) const;

 private:
  std::shared_ptr<CheckpointWriter> writer_;
  std::shared_ptr<Clock> clock_;
};

}  // namespace pipestill
