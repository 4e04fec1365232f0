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
    auto sampled = options_->datasets[row.dataset].render(std::move(row));
    if (!sampled) return later(fail(std::move(sampled.error())));
    if (!sampled->row.dropped) ++asked;
    batch.rows.push_back(*std::move(sampled));
  }
  if (asked == 0) return later(std::move(batch));

  const auto student = options_->student.of(context);
  const auto samples = options_->samples;  // a copy, as with what follows: with the last answer this stage may be gone
  const auto n = batch.rows.size();
  const auto stop = context.stop;  // a copy: with the last answer the batch, and its context, go on
  struct Draw {
    StudentDraw of;
    SampleRequest request;
  };
  std::vector<std::optional<Draw>> draws(n);
  for (std::size_t i = 0; i < n; ++i) {
    const auto& sampled = batch.rows[i];
    const auto& row = sampled.row;
    if (row.dropped) continue;
    draws[i] = Draw{{.dataset = row.dataset, .epoch = row.epoch, .row = row.index, .sample = 0, .version = context.lease.version.value, .step = batch.at.step}, options_->datasets[row.dataset].request(sampled)};
  }
  const auto gather = std::make_shared<RowGather>(
      std::move(batch), asked, [](SampledBatch&) {}, std::move(done));
  for (std::size_t i = 0; i < n; ++i) {
    if (!draws[i]) continue;
    Completion<SampledSequence> answered([options = options_, gather, i](Result<SampledSequence> answer) {
      auto& row = gather->row(i);
      gather->answered(i, guarded("the renderer", [&] { return take_answer(row, std::move(answer), options->datasets[row.row.dataset], true); }));
    });
    if (samples) samples->sample(draws[i]->of, student->sampler, std::move(draws[i]->request), stop, std::move(answered));
    else student->sampler->sample(std::move(draws[i]->request), stop, std::move(answered));
  }
}

}  // namespace pipestill
