#pragma once
// What a row asks, and what becomes of it if its answer is missing, empty or cut off.
#include <optional>

#include "nodes/messages.hpp"
#include "nodes/prompt.hpp"
#include "nodes/recipe.hpp"
#include "ports/renderer/renderer.hpp"

namespace pipestill {

struct RowPolicies {
  RowPolicy on_error = RowPolicy::fail, on_empty = RowPolicy::fail, on_truncated = RowPolicy::keep;

  [[nodiscard]] static RowPolicies of(const Recipe::Teacher& teacher) { return {teacher.on_error, teacher.on_empty, teacher.on_truncated}; }
};

/// How the rows of one dataset are asked for.
struct Asking {
  PromptRenderer prompts;
  SamplingParams params = {};  ///< without seed and stop, which are the row's and the renderer's
  RowPolicies policies = {};

  /// The row, rendered, or dropped where it cannot be and may be skipped. An error names it.
  [[nodiscard]] Result<SampledRow> render(Row row) const;
  /// Of a rendered row.
  [[nodiscard]] SampleRequest request(const SampledRow& row) const;
};

/// Takes an answer into the row, or drops the row by policy. An error, which names the row, ends the batch: where a policy says so, where
/// the work was cancelled or a promise of ours is broken, where tokens and log-probabilities are not of one length, and where the answer
/// has a token that the vocabulary lacks. `needs_logprobs`: a missing log-probability is an error of the row too, under on_error.
[[nodiscard]] Result<void> take_answer(SampledRow& row, Result<SampledSequence> answer, const Asking& asking, bool needs_logprobs);

/// The same for the teacher's score of prompt and answer together.
[[nodiscard]] Result<void> take_score(SampledRow& row, Result<Score> score, const RowPolicies& policies);

}  // namespace pipestill
