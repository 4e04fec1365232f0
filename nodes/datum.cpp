#include "nodes/datum.hpp"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace pipestill {
namespace {

template <class T>
TensorData vector_of(std::vector<T> values) {
  const auto n = static_cast<std::int64_t>(values.size());
  return {std::move(values), {n}};
}

/// The prompt with the answer as a chunk of its own, and 1 for every token of the answer.
struct Joined {
  ModelInput input;
  std::vector<float> weights;
};
Joined join(const ModelInput& prompt, std::span<const Token> answer) {
  Joined joined{prompt, std::vector<float>(prompt.length(), 0.0f)};
  joined.input.chunks.push_back({{answer.begin(), answer.end()}});
  joined.weights.insert(joined.weights.end(), answer.size(), 1.0f);
  return joined;
}

}  // namespace

Result<Datum> datum_from_model_input_weights(ModelInput input, std::span<const float> weights, std::optional<std::size_t> max_length,
                                             WeightReduction reduction) {
  auto& chunks = input.chunks;
  if (max_length) {
    for (std::size_t total = input.length(); total > *max_length;) {
      auto& last = chunks.back().tokens;
      const std::size_t surplus = std::min(total - *max_length, last.size());
      last.resize(last.size() - surplus);
      total -= surplus;
      if (last.empty()) chunks.pop_back();
    }
  }
  std::erase_if(chunks, [](const EncodedTextChunk& chunk) { return chunk.tokens.empty(); });
  const auto tokens = input.to_ints();
  if (tokens.size() < 2) {
    return fail(ErrorCode::invalid_input,
                "a training example needs at least 2 tokens, to read one and predict the other; here are " + std::to_string(tokens.size()));
  }
  const std::size_t n = tokens.size() - 1;
  chunks.back().tokens.pop_back();
  if (chunks.back().tokens.empty()) chunks.pop_back();

  weights = weights.first(std::min(weights.size(), n + 1));
  std::vector<float> shifted;
  if (!weights.empty()) shifted.assign(weights.begin() + 1, weights.end());
  if (reduction == WeightReduction::mean) {
    float total = 0;
    for (const float w : shifted) total += w;
    if (total > 0) {
      for (float& w : shifted) w /= total;
    }
  }
  Datum datum{.model_input = std::move(input), .loss_fn_inputs = {}};
  datum.loss_fn_inputs["target_tokens"] = vector_of(std::vector<std::int64_t>(tokens.begin() + 1, tokens.end()));
  datum.loss_fn_inputs["weights"] = vector_of(std::move(shifted));
  return datum;
}

Result<Datum> answer_datum(const ModelInput& prompt, std::span<const Token> answer, std::size_t max_length) {
  auto joined = join(prompt, answer);
  return datum_from_model_input_weights(std::move(joined.input), joined.weights, max_length);
}

Result<Datum> importance_sampling_datum(const ModelInput& prompt, std::span<const Token> answer, std::span<const float> sampler_logprobs,
                                        std::span<const float> teacher_logprobs, std::size_t max_length) {
  if (sampler_logprobs.size() != answer.size() || teacher_logprobs.size() != answer.size()) {
    return fail(ErrorCode::internal, "an answer of " + std::to_string(answer.size()) + " tokens came with " +
                                         std::to_string(sampler_logprobs.size()) + " log-probabilities of the sampler and " +
                                         std::to_string(teacher_logprobs.size()) + " of the teacher");
  }
  auto joined = join(prompt, answer);
  auto datum = datum_from_model_input_weights(std::move(joined.input), joined.weights, max_length);
  if (!datum) return datum;
  const std::size_t n = datum->model_input.length();
  std::vector<float> logprobs(n, 0.0f), advantages(n, 0.0f);
  const std::size_t before = prompt.length();  // position i predicts token i + 1, which is the answer's token i + 1 - before
  for (std::size_t i = before == 0 ? 0 : before - 1; i < n; ++i) {
    const std::size_t k = i + 1 - before;
    logprobs[i] = sampler_logprobs[k];
    advantages[i] = teacher_logprobs[k] - sampler_logprobs[k];
  }
  datum->loss_fn_inputs["logprobs"] = vector_of(std::move(logprobs));
  datum->loss_fn_inputs["advantages"] = vector_of(std::move(advantages));
  return datum;
}

std::size_t trained_positions(const Datum& datum) {
  const auto found = datum.loss_fn_inputs.find("weights");
  return found == datum.loss_fn_inputs.end() ? 0 : weighted_positions(found->second);
}

}  // namespace pipestill
