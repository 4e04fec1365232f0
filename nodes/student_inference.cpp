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
  const auto n = batch.rows.size();
  const auto stop = context.stop;  // a copy: with the last answer the batch, and its context, go on
  std::vector<std::optional<SampleRequest>> requests(n);
  for (std::size_t i = 0; i < n; ++i) {
    const auto& sampled = batch.rows[i];
    if (!sampled.row.dropped) requests[i] = options_->datasets[sampled.row.dataset].request(sampled);
  }
  const auto gather = std::make_shared<RowGather>(
      std::move(batch), asked, [](SampledBatch&) {}, std::move(done));
  for (std::size_t i = 0; i < n; ++i) {
    if (!requests[i]) continue;
    student->sampler->sample(
        *std::move(requests[i]), stop, Completion<SampledSequence>([options = options_, gather, i](Result<SampledSequence> answer) {
          auto& row = gather->row(i);
          gather->answered(i, guarded("the renderer", [&] { return take_answer(row, std::move(answer), options->datasets[row.row.dataset], true); }));
        }));
  }
}

}  // namespace pipestill
