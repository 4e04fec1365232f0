#pragma once
// From tokens and weights to a training example.
#include <cstddef>
#include <optional>
#include <span>

#include "graph/base/error.hpp"
#include "ports/types.hpp"

namespace pipestill {

enum class WeightReduction {
  none,
  mean,  ///< weights are divided by their sum, if that is positive
};

/// The next-token example for cross_entropy, as tinker-cookbook's function of this name makes it: the input is cut at max_length from the
/// right, empty chunks are dropped, and position i predicts token i + 1 with the weight of token i + 1. `weights[i]` belongs to token i of
/// `input`; surplus weights are ignored, missing ones make `weights` shorter than `target_tokens`. Fewer than 2 tokens are
/// ErrorCode::invalid_input.
[[nodiscard]] Result<Datum> datum_from_model_input_weights(ModelInput input, std::span<const float> weights,
                                                           std::optional<std::size_t> max_length,
                                                           WeightReduction reduction = WeightReduction::none);

/// A sampled answer as an example for cross_entropy: weight 1 on its tokens, 0 on the prompt's. The tokens are taken as they are.
[[nodiscard]] Result<Datum> answer_datum(const ModelInput& prompt, std::span<const Token> answer, std::size_t max_length);

/// The same for importance_sampling, with `logprobs` (of the sampler) and `advantages` (the teacher's log-probability less the sampler's)
/// beside `target_tokens` and `weights`; float32, 0 on the prompt. Both lists have the answer's length.
[[nodiscard]] Result<Datum> importance_sampling_datum(const ModelInput& prompt, std::span<const Token> answer,
                                                      std::span<const float> sampler_logprobs, std::span<const float> teacher_logprobs,
                                                      std::size_t max_length);

/// weighted_positions() of the datum's weights; 0 without them.
[[nodiscard]] std::size_t trained_positions(const Datum& datum);

}  // namespace pipestill
