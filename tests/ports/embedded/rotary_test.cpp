#include "ports/embedded/rotary.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "tests/ports/embedded/support.hpp"

using namespace pipestill;
using namespace pipestill::test;

TEST_CASE("frequencies fall geometrically, and linear scaling divides them") {
  auto config = small_config();
  const auto plain = rotary_frequencies(config);
  REQUIRE(plain.size() == 4);
  for (std::size_t j = 0; j < 4; ++j) CHECK(plain[j] == doctest::Approx(std::pow(10.0, -static_cast<double>(j))).epsilon(1e-14));
  config.rope_scaling = {.kind = RopeScaling::Kind::linear, .factor = 4};
  const auto scaled = rotary_frequencies(config);
  for (std::size_t j = 0; j < 4; ++j) CHECK(scaled[j] == plain[j] / 4);
}

TEST_CASE("llama3 keeps short waves, stretches long ones and blends between") {
  auto config = small_config();
  config.head_dim = 64;
  config.rope_theta = 500000;
  const auto plain = rotary_frequencies(config);
  config.rope_scaling = {.kind = RopeScaling::Kind::llama3,
                         .factor = 32,
                         .low_freq_factor = 1,
                         .high_freq_factor = 4,
                         .original_max_position_embeddings = 8192};
  const auto scaled = rotary_frequencies(config);
  REQUIRE(scaled.size() == 32);
  int kept = 0, blended = 0, stretched = 0;
  for (std::size_t j = 0; j < 32; ++j) {
    const double wave = 2 * std::acos(-1.0) / plain[j];
    if (wave < 8192.0 / 4) {
      CHECK(scaled[j] == plain[j]);
      ++kept;
    } else if (wave > 8192.0) {
      CHECK(scaled[j] == plain[j] / 32);
      ++stretched;
    } else {
      CHECK(scaled[j] < plain[j]);
      CHECK(scaled[j] > plain[j] / 32);
      ++blended;
    }
  }
  CHECK(kept == 15);
  CHECK(blended == 3);
  CHECK(stretched == 14);
  // Pair 15 of Llama 3.2, with the formula worked out by hand: s = (8192 f / 2 pi - 1) / 3.
  const double f = std::pow(500000.0, -15.0 / 32), s = (8192 * f / (2 * std::acos(-1.0)) - 1) / 3;
  CHECK(scaled[15] == doctest::Approx((1 - s) * f / 32 + s * f).epsilon(1e-14));
}
