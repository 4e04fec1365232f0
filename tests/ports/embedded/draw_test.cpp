#include "ports/embedded/draw.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "ports/embedded/random.hpp"
#include "tests/ports/embedded/distribution.hpp"

using namespace pipestill;
using namespace pipestill::embedded;

namespace {

/// Forty logits, of which some are equal, and their logarithms' sum is not 0.
std::vector<double> some_logits() {
  std::vector<double> logits;
  for (int t = 0; t < 40; ++t) logits.push_back(1.5 + std::round(8 * std::sin(t * 2.4) + 3 * std::cos(t * 1.1)) / 4);
  return logits;
}

std::vector<int> draw_counts(std::span<const double> logits, const SamplingParams& params, int draws) {
  const std::vector<float> narrow(logits.begin(), logits.end());
  std::vector<int> counts(logits.size());
  TokenDraw draw;
  for (int i = 0; i < draws; ++i)
    ++counts[static_cast<std::size_t>(draw.draw(narrow, params, uniform(params.seed, static_cast<std::uint64_t>(i))).token)];
  return counts;
}

struct Setting {
  const char* name;
  SamplingParams params;
};
const std::vector<Setting>& settings() {
  static const std::vector<Setting> all{{"temperature 0.5", {.temperature = 0.5}},
                                        {"temperature 1", {}},
                                        {"temperature 1.7", {.temperature = 1.7}},
                                        {"top_k 1", {.top_k = 1}},
                                        {"top_k 6, whose border equals cross", {.top_k = 6}},
                                        {"top_k 17", {.top_k = 17}},
                                        {"top_k of the vocabulary", {.top_k = 40}},
                                        {"top_k above the vocabulary", {.top_k = 1000}},
                                        {"top_p 0.3", {.top_p = 0.3}},
                                        {"top_p 0.9", {.top_p = 0.9}},
                                        {"all three, cold", {.temperature = 0.5, .top_k = 9, .top_p = 0.8}},
                                        {"all three, hot", {.temperature = 1.7, .top_k = 12, .top_p = 0.7}},
                                        {"all three, top_p last", {.temperature = 1.7, .top_k = 5, .top_p = 0.6}}};
  return all;
}

}  // namespace

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

TEST_CASE("draws follow the distribution that their parameters describe") {
  const auto logits = some_logits();
  for (const auto& [name, params] : settings()) {
    CAPTURE(name);
    for (const std::uint64_t seed : {1, 2, 3}) {
      auto seeded = params;
      seeded.seed = seed;
      CHECK(test::p_value(test::exact_distribution(logits, params), draw_counts(logits, seeded, 20000)) > 1e-4);
    }
  }
}

TEST_CASE("a distribution that is slightly wrong is told from the right one") {
  const auto logits = some_logits();
  const auto rejects = [&](const SamplingParams& drawn, std::vector<double> wrong) {
    return test::p_value(wrong, draw_counts(logits, drawn, 20000)) < 1e-9;
  };
  CHECK(rejects({.temperature = 0.5}, test::exact_distribution(logits, {.temperature = 0.55})));
  CHECK(rejects({}, test::exact_distribution(logits, {.temperature = 1.08})));
  CHECK(rejects({.temperature = 1.7}, test::exact_distribution(logits, {.temperature = 1.55})));
  CHECK(rejects({.top_k = 6}, test::exact_distribution(logits, {.top_k = 5})));
  CHECK(rejects({.top_k = 6}, test::exact_distribution(logits, {.top_k = 7})));
  // top_p of the whole vocabulary, and only then top_k.
  const SamplingParams both{.temperature = 1.7, .top_k = 5, .top_p = 0.6};
  CHECK(rejects(both, test::exact_distribution(logits, {.temperature = 1.7, .top_k = 5})));
  // top_p before the temperature.
  auto hot = test::exact_distribution(logits, {.temperature = 1.7});
  const auto cold = test::exact_distribution(logits, {.top_p = 0.7});
  double total = 0;
  for (std::size_t i = 0; i < hot.size(); ++i) total += hot[i] *= cold[i] > 0;
  for (auto& p : hot) p /= total;
  CHECK(rejects({.temperature = 1.7, .top_p = 0.7}, hot));
  // The higher ids among equals at the border of top_k.
  auto mirrored = logits;
  std::reverse(mirrored.begin(), mirrored.end());
  auto higher = test::exact_distribution(mirrored, {.top_k = 6});
  std::reverse(higher.begin(), higher.end());
  CHECK(higher != test::exact_distribution(logits, {.top_k = 6}));
  CHECK(rejects({.top_k = 6}, higher));
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
