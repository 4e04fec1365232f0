#include "nodes/evaluator.hpp"

#include <algorithm>
#include <atomic>
#include <utility>

#include "nodes/guarded.hpp"
#include "nodes/await.hpp"
#include "nodes/request_queue.hpp"
#include "ports/dataset/conversation.hpp"

namespace pipestill {

Result<std::shared_ptr<const Evaluator>> Evaluator::make(DatasetStore& dataset, std::shared_ptr<const Renderer> renderer,
                                                         std::shared_ptr<Clock> clock, EvaluationOptions options) {
  for (const auto& metric : options.metrics) {
    if (metric != "exact_match")
      return fail(ErrorCode::invalid_input, "evaluation.metrics: \"" + metric + "\" is unknown; accepted: exact_match");
  }
  const auto n = std::min(dataset.size(), options.limit.value_or(dataset.size()));
  if (n == 0) return fail(ErrorCode::invalid_input, "evaluation.path: there is no row to evaluate with; at least 1 is needed");
  std::vector<Row> rows;
  rows.reserve(n);
  for (std::uint64_t i = 0; i < n; ++i) {
    auto record = dataset.row(i);
    if (!record) return fail(std::move(record.error()));
    auto conversation = supervised_conversation(*record);
    if (!conversation) return fail(std::move(conversation.error()));
    Row row{.where = record->where, .prompt = {}, .reference = conversation->back().content.said()};
    conversation->pop_back();
    const auto tools = declared_tools(*record);
    if (!tools) return fail(tools.error());
    const auto declared = with_tools(*renderer, *tools, *std::move(conversation));
    if (!declared) return fail(declared.error().code, row.where + ": " + declared.error().message);
    auto prompt = renderer->build_generation_prompt(*declared);
    if (!prompt) return fail(prompt.error().code, row.where + ": " + prompt.error().message);
    row.prompt = *std::move(prompt);
    rows.push_back(std::move(row));
  }
  return std::shared_ptr<const Evaluator>(new Evaluator(std::move(rows), std::move(renderer), std::move(clock), std::move(options)));
}

/// One evaluation under way. Shared by its requests.
class Evaluator::Count {
 public:
  Count(const Evaluator& evaluator, Completion<EvaluationResult> done)
      : evaluator_(evaluator), errors_(evaluator.rows_.size()), outstanding_(evaluator.rows_.size()), done_(std::move(done)) {}

  void answered(std::size_t i, Result<SampledSequence> answer) {
    const auto& row = evaluator_.rows_[i];
    if (answer) {
      const auto parsed = guarded("the renderer", [&] { return evaluator_.renderer_->parse_response(answer->tokens); });
      // An answer that cannot be parsed is a wrong one, not an accident.
      if (parsed && parsed->termination == Termination::stop_sequence && parsed->message.content.said() == row.reference) matches_.fetch_add(1);
    } else {
      errors_[i] = std::move(answer.error());
    }
    if (outstanding_.fetch_sub(1, std::memory_order_acq_rel) > 1) return;
    for (std::size_t k = 0; k < errors_.size(); ++k) {
      if (errors_[k]) return done_(fail(errors_[k]->code, evaluator_.rows_[k].where + ": " + errors_[k]->message));
    }
    EvaluationResult result{.rows = errors_.size()};
    for (const auto& metric : evaluator_.options_.metrics)
      result.metrics[metric] = static_cast<double>(matches_.load()) / static_cast<double>(errors_.size());
    done_(std::move(result));
  }

 private:
  const Evaluator& evaluator_;
  std::vector<std::optional<Error>> errors_;  // each touched by its row's handler, and by the last one
  std::atomic<std::uint64_t> matches_{0};
  std::atomic<std::size_t> outstanding_;
  Completion<EvaluationResult> done_;
};

void Evaluator::evaluate(std::shared_ptr<SamplingSession> session, std::stop_token stop, Completion<EvaluationResult> done) const {
  const auto count = std::make_shared<Count>(*this, std::move(done));
  const RequestQueue queue(std::move(session), options_.in_flight, clock_);
  const auto stop_sequences = renderer_->stop_sequences();
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    SampleRequest request{rows_[i].prompt, {.max_tokens = options_.max_tokens, .temperature = 0, .stop = stop_sequences}};
    queue.sample({0, i}, std::move(request), stop,
                 Completion<SampledSequence>([count, i](Result<SampledSequence> answer) { count->answered(i, std::move(answer)); }));
  }
}

Result<EvaluationResult> Evaluator::evaluate(std::shared_ptr<SamplingSession> session, std::stop_token stop) const {
  return await<EvaluationResult>(*clock_, [&](auto done) { evaluate(std::move(session), stop, std::move(done)); });
}

}  // namespace pipestill
