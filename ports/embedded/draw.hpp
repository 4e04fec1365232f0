#pragma once
// From logits to a token.
#include <span>
#include <utility>
#include <vector>

#include "graph/base/error.hpp"
#include "ports/types.hpp"

namespace pipestill::embedded {

/// ErrorCode::invalid_input for a temperature, top_k, top_p or max_tokens that means nothing. Stops are not looked at.
[[nodiscard]] Result<void> check_sampling_params(const SamplingParams& params);

struct Draw {
  Token token = 0;
  float logprob = 0;  ///< at temperature 1, over all logits
};

/// Draws tokens; owns scratch memory. Temperature first, then top_k, then top_p over what is left, as in Hugging Face.
/// Not thread-safe.
class TokenDraw {
 public:
  /// `logits` are finite. `u` in [0, 1) picks by the inverse of the distribution function in the order of token ids, with sums in double.
  /// Temperature 0: the highest logit, the lowest id among equals. Equals at the border of top_k or top_p: the lower ids stay.
  [[nodiscard]] Draw draw(std::span<const float> logits, const SamplingParams& params, double u);

 private:
  void filter(std::span<const float> logits, const SamplingParams& params);

  std::vector<float> weights_;  ///< unnormalised probabilities, 0 where filtered
  std::vector<Token> order_;
};

/// Log-probabilities at temperature 1 of one position.
class PositionScore {
 public:
  explicit PositionScore(std::span<const float> logits);
  [[nodiscard]] float of(Token token) const { return static_cast<float>(logits_[static_cast<std::size_t>(token)] - normaliser_); }
  /// The k most probable tokens, best first, the lower id first among equals.
  [[nodiscard]] std::vector<std::pair<Token, float>> top(int k) const;

 private:
  std::span<const float> logits_;
  double normaliser_;
};

}  // namespace pipestill::embedded
