#include "nodes/datum_builder.hpp"

#include <utility>
#include <vector>

#include "nodes/datum.hpp"
#include "nodes/batch_bytes.hpp"
#include "nodes/describe.hpp"
#include "ports/datum_digest.hpp"

namespace pipestill {
namespace {

/// Keeps the datum, or drops the row if it would train nothing.
void take_datum(DatumBatch& batch, Row row, std::optional<Datum> datum) {
  const std::size_t trained = datum ? trained_positions(*datum) : 0;
  if (trained == 0) {
    if (!row.dropped) row.dropped = DropReason::untrained;
    datum.reset();
  }
  row.num_tokens = trained;
  batch.num_tokens += trained;
  batch.rows.push_back({std::move(row), std::move(datum)});
}

/// Over what the student will see. The datums are only lent: their bulk does not move in memory.
std::string digest_of(DatumBatch& batch) {
  std::vector<Datum> datums;
  for (auto& row : batch.rows) {
    if (row.datum) datums.push_back(std::move(*row.datum));
  }
  auto digest = datum_digest(datums);
  auto next = datums.begin();
  for (auto& row : batch.rows) {
    if (row.datum) row.datum = std::move(*next++);
  }
  return digest;
}

}  // namespace

Description DatumBuilder::describe() { return describe_datum_builder(); }

Result<std::optional<Datum>> DatumBuilder::build(const SampledRow& sampled) const {
  const auto& tokens = sampled.answer.tokens;
  if (sampled.prompt.length() + tokens.size() < 2) return std::nullopt;
  if (options_.method != Method::on_policy) return answer_datum(sampled.prompt, tokens, options_.max_length);
  std::vector<float> sampler_logprobs;
  for (const auto& logprob : sampled.answer.logprobs) {
    if (!logprob) return fail(ErrorCode::internal, "an answer without all its log-probabilities was not dropped");
    sampler_logprobs.push_back(*logprob);
  }
  return importance_sampling_datum(sampled.prompt, tokens, sampler_logprobs, sampled.teacher_logprobs, options_.max_length);
}

Result<std::optional<Datum>> DatumBuilder::build(Row& row) const {
  const auto& prompts = options_.prompts.at(row.dataset);
  if (auto truncated = prompts.truncate(row); !truncated) return fail(std::move(truncated.error()));
  const auto conversation = with_tools(*prompts.renderer, row.tools, row.conversation);
  if (!conversation) return fail(conversation.error());
  auto example = prompts.renderer->build_supervised_example(*conversation, TrainOnWhat::last_assistant_message);
  if (!example) return fail(std::move(example.error()));
  if (example->input.length() < 2) return std::nullopt;
  return datum_from_model_input_weights(std::move(example->input), example->weights, options_.max_length);
}

Result<DatumBatch> DatumBuilder::operator()(SampledBatch sampled, graph::Context& context) const {
  DatumBatch batch{.at = sampled.at, .student_version = sampled.student_version, .teacher_cost = sampled.teacher_cost};
  batch.rows.reserve(sampled.rows.size());
  for (auto& row : sampled.rows) {
    std::optional<Datum> datum;
    if (!row.row.dropped) {
      auto built = build(row);
      if (!built) return fail(at_row(row.row, std::move(built.error())));
      datum = *std::move(built);
    }
    take_datum(batch, std::move(row.row), std::move(datum));
  }
  batch.datum_digest = digest_of(batch);
  context.bytes = std::min(context.bytes, bytes_of(batch));
  return batch;
}

Result<DatumBatch> DatumBuilder::operator()(PromptBatch prompts, graph::Context& context) const {
  DatumBatch batch{.at = prompts.at};
  batch.rows.reserve(prompts.rows.size());
  for (auto& row : prompts.rows) {
    std::optional<Datum> datum;
    if (!row.dropped) {
      auto built = build(row);
      if (built) {
        datum = *std::move(built);
      } else if (auto skipped = options_.prompts.at(row.dataset).skip_or_fail(row, at_row(row, std::move(built.error()))); !skipped) {
        return fail(std::move(skipped.error()));
      }
    }
    take_datum(batch, std::move(row), std::move(datum));
  }
  batch.datum_digest = digest_of(batch);
  context.bytes = std::min(context.bytes, bytes_of(batch));
  return batch;
}

}  // namespace pipestill
