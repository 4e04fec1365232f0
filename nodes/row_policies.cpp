#include "nodes/row_policies.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace pipestill {
namespace {

/// Drops the row, or ends the batch with the error.
Result<void> drop_or_fail(Row& row, RowPolicy policy, DropReason reason, Error error) {
  if (policy != RowPolicy::drop) return fail(at_row(row, std::move(error)));
  row.dropped = reason;
  return {};
}

Result<void> request_failed(Row& row, const RowPolicies& policies, Error error) {
  // A policy is about what backends do; it hides neither our own faults nor a stop.
  const bool is_of_backend = error.code == ErrorCode::backend_failed || error.code == ErrorCode::invalid_input;
  return drop_or_fail(row, is_of_backend ? policies.on_error : RowPolicy::fail, DropReason::error, std::move(error));
}

}  // namespace

Result<SampledRow> Asking::render(Row row) const {
  SampledRow sampled{.row = std::move(row)};
  if (sampled.row.dropped) return sampled;
  auto prompt = prompts.render(sampled.row);
  if (prompt) {
    sampled.prompt = *std::move(prompt);
  } else if (auto skipped = prompts.skip_or_fail(sampled.row, std::move(prompt.error())); !skipped) {
    return fail(std::move(skipped.error()));
  }
  return sampled;
}

SampleRequest Asking::request(const SampledRow& row) const {
  SampleRequest request{row.prompt, params};
  request.params.seed = row.row.seed;
  request.params.stop = prompts.renderer->stop_sequences();
  return request;
}

Result<void> take_answer(SampledRow& sampled, Result<SampledSequence> answer, const Asking& asking, bool needs_logprobs) {
  const auto& policies = asking.policies;
  Row& row = sampled.row;
  if (!answer) return request_failed(row, policies, std::move(answer.error()));
  const auto& tokens = answer->tokens;
  const auto& logprobs = answer->logprobs;
  if (logprobs.size() != tokens.size() && (needs_logprobs || !logprobs.empty())) {
    return fail(at_row(row, {ErrorCode::backend_failed, "misaligned answer: " + std::to_string(tokens.size()) + " tokens with " +
                                                            std::to_string(logprobs.size()) + " log-probabilities"}));
  }
  if (needs_logprobs && !std::ranges::all_of(logprobs, &Logprob::has_value)) {
    return drop_or_fail(row, policies.on_error, DropReason::error,
                        {ErrorCode::backend_failed, "a token of the answer came without its log-probability"});
  }
  const auto parsed = asking.prompts.renderer->parse_response(tokens);
  if (!parsed) return fail(at_row(row, parsed.error()));
  const auto& said = parsed->message;
  if (tokens.empty() || (said.content.bytes() == 0 && said.tool_calls.empty() && said.unparsed_tool_calls.empty())) {
    return drop_or_fail(row, policies.on_empty, DropReason::empty,
                        {ErrorCode::backend_failed, "the answer is empty; teacher.on_empty \"drop\" would leave the row out"});
  }
  if (answer->stop_reason == StopReason::length && policies.on_truncated != RowPolicy::keep) {
    return drop_or_fail(
        row, policies.on_truncated, DropReason::truncated,
        {ErrorCode::backend_failed, "the answer was cut off at max_tokens; teacher.on_truncated \"drop\" or \"keep\" would go on"});
  }
  sampled.answer = *std::move(answer);
  return {};
}

Result<void> take_score(SampledRow& sampled, Result<Score> score, const RowPolicies& policies) {
  Row& row = sampled.row;
  if (!score) return request_failed(row, policies, std::move(score.error()));
  const std::size_t before = sampled.prompt.length();
  const std::size_t expected = before + sampled.answer.tokens.size();
  if (score->own.size() != expected) {
    return fail(at_row(row, {ErrorCode::backend_failed, "misaligned score: " + std::to_string(expected) + " tokens with " +
                                                            std::to_string(score->own.size()) + " log-probabilities"}));
  }
  for (std::size_t i = before; i < expected; ++i) {
    if (!score->own[i]) {
      sampled.teacher_logprobs.clear();
      return drop_or_fail(row, policies.on_error, DropReason::error,
                          {ErrorCode::backend_failed, "the teacher gave no log-probability for a token of the answer"});
    }
    sampled.teacher_logprobs.push_back(*score->own[i]);
  }
  return {};
}

}  // namespace pipestill
