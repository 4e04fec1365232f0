#include "ports/embedded/draw.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "ports/embedded/random.hpp"

using namespace pipestill;
using namespace pipestill::embedded;

TEST_CASE("draws invert the distribution function in the order of token ids") {
  TokenDraw draw;
  const std::vector<float> logits{std::log(0.2f), std::log(0.5f), std::log(0.3f)};
  CHECK(draw.draw(logits, {}, 0.0).token == 0);
  CHECK(draw.draw(logits, {}, 0.1999).token == 0);
  CHECK(draw.draw(logits, {}, 0.2001).token == 1);
  CHECK(draw.draw(logits, {}, 0.7001).token == 2);
  CHECK(draw.draw(logits, {}, 1 - 0x1p-53).token == 2);
  CHECK(draw.draw(logits, {}, 0.5).logprob == doctest::Approx(std::log(0.5)).epsilon(1e-6));
  // Log-probabilities are those at temperature 1 and of the whole vocabulary, whatever the choice was made from.
  CHECK(draw.draw(logits, {.temperature = 0.1, .top_k = 1}, 0.5).logprob == doctest::Approx(std::log(0.5)).epsilon(1e-6));
  CHECK(draw.draw(logits, {.top_p = 0.6}, 0.999).token == 2);
  CHECK(draw.draw(logits, {.top_p = 0.6}, 0.6).token == 1);
  CHECK(draw.draw(logits, {.temperature = 1e-300}, 0.99).token == 1);
}

TEST_CASE("among equals the lowest ids win") {
  TokenDraw draw;
  const std::vector<float> logits{1, 3, 3, 3, 0};
  CHECK(draw.draw(logits, {.temperature = 0}, 0.9).token == 1);
  CHECK(draw.draw(logits, {.top_k = 2}, 0.999).token == 2);
  CHECK(draw.draw(logits, {.top_p = 0.01}, 0.999).token == 1);
  const PositionScore score(logits);
  CHECK(score.top(2)[1].first == 2);
  CHECK(score.top(99).size() == 5);
  CHECK(score.top(0).empty());
}

TEST_CASE("uniforms fill the unit interval and neither seed nor counter repeats another") {
  double sum = 0, low = 1, high = 0;
  for (std::uint64_t i = 0; i < 10000; ++i) {
    const double u = uniform(i % 100, i / 100);
    sum += u;
    low = std::min(low, u);
    high = std::max(high, u);
  }
  CHECK(sum / 10000 == doctest::Approx(0.5).epsilon(0.03));
  CHECK(low < 0.001);
  CHECK(high > 0.999);
  CHECK(high < 1);
  CHECK(random_bits(1, 2) != random_bits(2, 1));
  CHECK(random_bits(0, 0) == mix(mix(0) ^ mix(~std::uint64_t(0))));
}
