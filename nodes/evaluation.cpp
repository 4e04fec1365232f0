#include "nodes/evaluation.hpp"

#include <utility>

#include "nodes/describe.hpp"

namespace pipestill {

Evaluation::Evaluation(std::shared_ptr<const Evaluator> evaluator, std::function<void(const EvaluationRecord&)> report,
                       std::shared_ptr<Clock> clock)
    : evaluator_(std::move(evaluator)), report_(std::move(report)), clock_(std::move(clock)) {}

Description Evaluation::describe() { return describe_evaluation(); }

void Evaluation::operator()(StepResult result, graph::Context& context, Completion<StepResult> done) const {
  auto snapshot = std::exchange(result.snapshot, nullptr);
  if (!snapshot) {  // completed later: never from inside the call
    clock_->call_at(clock_->now(), [result = std::move(result), done] { done(result); });
    return;
  }
  evaluator_->evaluate(std::move(snapshot), context.stop,
                       Completion<EvaluationResult>([evaluator = evaluator_, report = report_, result = std::move(result),
                                                     done](Result<EvaluationResult> evaluated) {
                         if (!evaluated) return done(fail(std::move(evaluated.error())));
                         if (report) report({EvaluationRecord::When::during, result.at.step + 1, *std::move(evaluated)});
                         done(result);
                       }));
}

}  // namespace pipestill
