#pragma once
// evaluation: measures the student now and then, while it goes on learning.
#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "graph/base/clock.hpp"
#include "graph/base/description.hpp"
#include "graph/message.hpp"
#include "nodes/evaluator.hpp"
#include "nodes/messages.hpp"

namespace pipestill {

/// One evaluation of a run, as a line of evaluations.jsonl.
struct EvaluationRecord {
  enum class When { before, during, after };
  When when = When::during;
  std::uint64_t step = 0;  ///< batches that the student has met
  EvaluationResult result;
};

/// An asynchronous stage in sequence, before the sink (graph/stage.hpp): where a batch carries a snapshot it is evaluated and let go, and what
/// comes out goes to `report`, from any thread; the batch itself passes unchanged. A failed evaluation fails the batch; one that `abandon`
/// stopped is forgotten: what was trained counts, and nobody waits to see how well.
class Evaluation {
 public:
  using Output = StepResult;
  Evaluation(std::shared_ptr<const Evaluator> evaluator, std::function<void(const EvaluationRecord&)> report, std::stop_token abandon,
             std::shared_ptr<Clock> clock);
  static Description describe();

  void operator()(StepResult result, graph::Context& context, Completion<StepResult> done) const;

 private:
  std::shared_ptr<const Evaluator> evaluator_;
  std::function<void(const EvaluationRecord&)> report_;
  std::stop_token abandon_;
  std::shared_ptr<Clock> clock_;
};

}  // namespace pipestill
