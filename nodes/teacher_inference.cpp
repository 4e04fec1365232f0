#include "nodes/teacher_inference.hpp"

#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

#include "nodes/batch_bytes.hpp"
#include "nodes/describe.hpp"
#include "nodes/guarded.hpp"
#include "nodes/row_gather.hpp"

namespace pipestill {
namespace {

using Options = std::shared_ptr<const TeacherInferenceOptions>;

std::vector<std::size_t> rows_to_ask(const SampledBatch& batch) {
  std::vector<std::size_t> asked;
  for (std::size_t i = 0; i < batch.rows.size(); ++i) {
    if (!batch.rows[i].row.dropped) asked.push_back(i);
  }
  return asked;
}

/// Notes what was asked of a backend; `tokens`: of the request and its answer. Of a failed request only that it was made is known.
template <class Answer>
void count_request(SampledRow& row, const Result<Answer>& answer, std::uint64_t tokens) {
  row.attempts += answer ? answer->attempts : 1;
  if (answer && answer->attempts > 0) row.tokens_paid += tokens;
}

/// Notes what the teacher took, and says so.
void report(const Options& options, SampledBatch& batch, Clock::Time first_sent) {
  auto& cost = batch.teacher_cost;
  cost.latency = options->clock->now() - first_sent;
  for (const auto& row : batch.rows) cost.attempts += row.attempts, cost.tokens_paid += row.tokens_paid;
  const auto answered = std::ranges::count_if(batch.rows, [](const SampledRow& r) { return !r.row.dropped; });
  options->telemetry->event("pipestill.distillation.teacher_inference",
                            {{"step", batch.at.step},
                             {"num_prompts", batch.rows.size()},
                             {"num_answers", answered},
                             {"attempts", cost.attempts},
                             {"tokens_paid", cost.tokens_paid},
                             {"teacher_latency_ms", static_cast<double>(cost.latency.count()) / 1e6}});
}

/// Asks for every row, through `ask(row number, on_sent, gather)`.
template <class Ask>
void ask_all(const Options& options, SampledBatch batch, graph::Context& context, Completion<SampledBatch> done, Ask ask) {
  const auto asked = rows_to_ask(batch);
  if (asked.empty()) {  // completed later: never from inside the call
    options->clock->call_at(options->clock->now(), [batch = std::move(batch), done] { done(batch); });
    return;
  }
  const auto first_sent = std::make_shared<std::atomic<Clock::Time::rep>>(options->clock->now().count());
  const auto gather = std::make_shared<RowGather>(
      std::move(batch), asked.size(), [options, first_sent, &context](SampledBatch& b) {
        report(options, b, Clock::Time(first_sent->load()));
        context.bytes = std::min(context.bytes, most_bytes(b));
      },
      std::move(done));
  for (const std::size_t i : asked) {
    // The batch's first row is the first to be sent: the queue goes by row.
    std::function<void()> on_sent;
    if (i == asked.front()) on_sent = [options, first_sent] { first_sent->store(options->clock->now().count()); };
    ask(i, std::move(on_sent), gather);
  }
}

}  // namespace

Description TeacherInference::describe() { return describe_teacher_inference(); }

void TeacherInference::operator()(PromptBatch prompts, graph::Context& context, Completion<SampledBatch> done) const {
  SampledBatch batch{.at = prompts.at};
  batch.rows.reserve(prompts.rows.size());
  for (auto& row : prompts.rows) {
    auto sampled = options_->datasets[row.dataset].asking.render(std::move(row));
    if (!sampled) {
      options_->clock->call_at(options_->clock->now(), [done, error = std::move(sampled.error())] { done(fail(error)); });
      return;
    }
    batch.rows.push_back(*std::move(sampled));
  }
  ask_all(
      options_, std::move(batch), context, std::move(done),
      [&, seq = context.seq.value, stop = context.stop](std::size_t i, std::function<void()> on_sent, std::shared_ptr<RowGather> gather) {
        const auto& [queue, asking] = options_->datasets[gather->row(i).row.dataset];
        auto request = asking.request(gather->row(i));
        Completion<SampledSequence> answered([options = options_, gather, i](Result<SampledSequence> answer) {
          auto& row = gather->row(i);
          count_request(row, answer, row.prompt.length() + (answer ? answer->tokens.size() : 0));
          gather->answered(i, guarded("the renderer", [&] { return take_answer(row, std::move(answer), options->datasets[row.row.dataset].asking, false); }));
        });
        queue.sample({seq, i}, std::move(request), stop, std::move(answered), std::move(on_sent));
      });
}

void TeacherInference::operator()(SampledBatch batch, graph::Context& context, Completion<SampledBatch> done) const {
  ask_all(
      options_, std::move(batch), context, std::move(done),
      [&, seq = context.seq.value, stop = context.stop](std::size_t i, std::function<void()> on_sent, std::shared_ptr<RowGather> gather) {
        const SampledRow& row = gather->row(i);
        ScoreRequest request{.tokens = row.prompt.to_ints()};
        request.tokens.insert(request.tokens.end(), row.answer.tokens.begin(), row.answer.tokens.end());
        Completion<Score> answered([options = options_, gather, i](Result<Score> score) {
          auto& scored = gather->row(i);
          count_request(scored, score, scored.prompt.length() + scored.answer.tokens.size());
          gather->answered(i, take_score(scored, std::move(score), options->datasets[scored.row.dataset].asking.policies));
        });
        options_->datasets[row.row.dataset].queue.compute_logprobs({seq, i}, std::move(request), stop, std::move(answered), std::move(on_sent));
      });
}

}  // namespace pipestill
