#include "nodes/student_inference.hpp"

#include <utility>

#include "nodes/describe.hpp"
#include "nodes/guarded.hpp"
#include "nodes/row_gather.hpp"

namespace pipestill {

Description StudentInference::describe() { return describe_student_inference(); }

void StudentInference::operator()(PromptBatch prompts, graph::Context& context, Completion<SampledBatch> done) const {
  const auto later = [&](Result<SampledBatch> result) {  // never from inside the call
    options_->clock->call_at(options_->clock->now(), [done, result = std::move(result)] { done(result); });
  };
  SampledBatch batch{.at = prompts.at, .student_version = context.lease.version.value};
  std::size_t asked = 0;
  for (auto& row : prompts.rows) {
    SampledRow sampled{.row = std::move(row)};
    if (!sampled.row.dropped) {
      auto prompt = options_->prompts.render(sampled.row);
      if (!prompt) return later(fail(std::move(prompt.error())));
      sampled.prompt = *std::move(prompt);
      ++asked;
    }
    batch.rows.push_back(std::move(sampled));
  }
  if (asked == 0) return later(std::move(batch));

  const auto student = options_->student.of(context);
  const auto n = batch.rows.size();
  const auto stop_sequences = options_->prompts.renderer->stop_sequences();
  const auto stop = context.stop;  // a copy: with the last answer the batch, and its context, go on
  std::vector<std::optional<SampleRequest>> requests(n);
  for (std::size_t i = 0; i < n; ++i) {
    const auto& sampled = batch.rows[i];
    if (sampled.row.dropped) continue;
    requests[i] = SampleRequest{sampled.prompt, options_->params};
    requests[i]->params.seed = sampled.row.seed;
    requests[i]->params.stop = stop_sequences;
  }
  const auto gather = std::make_shared<RowGather>(
      std::move(batch), asked, [](SampledBatch&) {}, std::move(done));
  for (std::size_t i = 0; i < n; ++i) {
    if (!requests[i]) continue;
    student->sampler->sample(
        *std::move(requests[i]), stop, Completion<SampledSequence>([options = options_, gather, i](Result<SampledSequence> answer) {
          gather->answered(i, guarded("the renderer", [&] { return take_answer(gather->row(i), std::move(answer), options->policies, *options->prompts.renderer, true); }));
        }));
  }
}

}  // namespace pipestill
