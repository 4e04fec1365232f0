#include "nodes/learning_rate.hpp"

#include <doctest/doctest.h>

namespace {

using pipestill::LearningRateSchedule;
using pipestill::Recipe;

Recipe::Training training(LearningRateSchedule schedule, std::uint64_t warmup, double min_ratio = 0) {
  Recipe::Training t;
  t.adam.learning_rate = 8;
  t.lr_schedule = schedule;
  t.warmup_steps = warmup;
  t.lr_min_ratio = min_ratio;
  return t;
}

}  // namespace

TEST_CASE("warm-up rises in equal parts to the peak and ends there") {
  const auto t = training(LearningRateSchedule::cosine, 4);
  for (std::uint64_t k = 0; k < 4; ++k) CHECK(learning_rate(t, k, 12) == 2.0 * static_cast<double>(k + 1));
  CHECK(learning_rate(t, 4, 12) == 8);
}

TEST_CASE("a constant schedule stays at the peak") {
  const auto t = training(LearningRateSchedule::constant, 0, 0.5);
  CHECK(learning_rate(t, 0, 10) == 8);
  CHECK(learning_rate(t, 9, 10) == 8);
}

TEST_CASE("a linear schedule falls in equal parts towards its minimum") {
  const auto t = training(LearningRateSchedule::linear, 0, 0.5);
  CHECK(learning_rate(t, 0, 4) == 8);
  CHECK(learning_rate(t, 2, 4) == 6);
  CHECK(learning_rate(t, 3, 4) == 5);
}

TEST_CASE("a cosine schedule is half-way between peak and minimum in its middle") {
  const auto t = training(LearningRateSchedule::cosine, 2, 0.25);
  CHECK(learning_rate(t, 2, 10) == 8);
  CHECK(learning_rate(t, 6, 10) == doctest::Approx(5));
  CHECK(learning_rate(t, 9, 10) < learning_rate(t, 8, 10));
  CHECK(learning_rate(t, 9, 10) > 2);
}

TEST_CASE("more warm-up than steps never reaches the peak, and divides by nothing") {
  const auto t = training(LearningRateSchedule::linear, 10);
  CHECK(learning_rate(t, 2, 3) == doctest::Approx(2.4));
  CHECK(learning_rate(training(LearningRateSchedule::linear, 3), 3, 3) == 8);
}
