#include "nodes/evaluation.hpp"

#include <utility>

#include "nodes/describe.hpp"
#include "nodes/guarded.hpp"

namespace pipestill {
namespace {

/// One token for two reasons to stop.
struct EitherStop {
  struct Forward {
    std::stop_source to;
    void operator()() const {
      auto own = to;  // what the request brings about may end this object
      own.request_stop();
    }
  };
  EitherStop(const std::stop_token& a, const std::stop_token& b) : on_a(a, Forward{source}), on_b(b, Forward{source}) {}
  std::stop_source source;
  std::stop_callback<Forward> on_a, on_b;
};

}  // namespace

Evaluation::Evaluation(std::shared_ptr<const Evaluator> evaluator, std::function<void(const EvaluationRecord&)> report, std::stop_token abandon,
                       std::shared_ptr<Clock> clock)
    : evaluator_(std::move(evaluator)), report_(std::move(report)), abandon_(std::move(abandon)), clock_(std::move(clock)) {}

Description Evaluation::describe() { return describe_evaluation(); }

void Evaluation::operator()(StepResult result, graph::Context& context, Completion<StepResult> done) const {
  auto snapshot = std::exchange(result.snapshot, nullptr);
  if (!snapshot) {  // completed later: never from inside the call
    clock_->call_at(clock_->now(), [result = std::move(result), done] { done(result); });
    return;
  }
  const auto stop = std::make_shared<EitherStop>(context.stop, abandon_);
  const auto token = stop->source.get_token();
  evaluator_->evaluate(std::move(snapshot), token,
                       Completion<EvaluationResult>([evaluator = evaluator_, report = report_, abandon = abandon_, stop, result = std::move(result),
                                                     done](Result<EvaluationResult> evaluated) {
                         if (!evaluated && evaluated.error().code == ErrorCode::cancelled && abandon.stop_requested()) return done(result);
                         if (!evaluated) return done(fail(std::move(evaluated.error())));
                         auto reported = guarded("on_evaluation", [&]() -> Result<void> {
                           if (report) report({EvaluationRecord::When::during, result.at.step + 1, *std::move(evaluated)});
                           return {};
                         });
                         if (!reported) return done(fail(std::move(reported.error())));
                         done(result);
                       }));
}

}  // namespace pipestill
