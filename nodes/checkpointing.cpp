#include "nodes/checkpointing.hpp"

#include <utility>
#include <variant>

#include "nodes/describe.hpp"

namespace pipestill {

Checkpointing::Checkpointing(std::shared_ptr<CheckpointWriter> writer, std::shared_ptr<Clock> clock) : writer_(std::move(writer)), clock_(std::move(clock)) {}

Description Checkpointing::describe() { return describe_checkpoint(); }

void Checkpointing::operator()(StepResult result, graph::Context& context, Completion<StepResult> done) const {
  auto captured = std::exchange(result.captured, nullptr);
  if (!captured) {  // completed later: never from inside the call
    clock_->call_at(clock_->now(), [healthy = writer_->health(), result = std::move(result), done] {
      if (!healthy) return done(fail(healthy.error()));
      done(result);
    });
    return;
  }
  const auto step = result.at.step + 1;
  writer_->save(step, std::move(captured), context.stop, Completion<std::monostate>([result = std::move(result), done](Result<std::monostate> taken) {
                  if (!taken) return done(fail(std::move(taken.error())));
                  done(result);
                }));
}

}  // namespace pipestill
