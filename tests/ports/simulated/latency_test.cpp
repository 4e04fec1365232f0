#include "ports/simulated/latency.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace pipestill;
using namespace std::chrono_literals;
using Distribution = LatencyOptions::Distribution;

TEST_CASE("a latency is a function of its seed and the request's alone") {
  const LatencyModel model({.distribution = Distribution::lognormal, .seed = 3}),
      same({.distribution = Distribution::lognormal, .seed = 3}), other({.distribution = Distribution::lognormal, .seed = 4});
  const auto first = model.draw(7);
  CHECK(model.draw(8) != first);
  CHECK(model.draw(7) == first);
  CHECK(same.draw(7) == first);
  CHECK(other.draw(7) != first);
}

TEST_CASE("latencies follow their distribution") {
  CHECK(LatencyModel({.mean_ms = 2.5}).draw(1) == 2500us);
  const LatencyModel uniform({.distribution = Distribution::uniform, .min_ms = 1, .max_ms = 3});
  const LatencyModel lognormal({.distribution = Distribution::lognormal, .mean_ms = 10, .sigma = 0.5});
  const LatencyModel stragglers({.mean_ms = 1, .straggler_rate = 0.1, .straggler_factor = 20});
  double uniform_sum = 0, lognormal_sum = 0;
  int slow = 0;
  constexpr int kDraws = 20000;
  for (std::uint64_t seed = 0; seed < kDraws; ++seed) {
    const auto u = uniform.draw(seed), s = stragglers.draw(seed);
    CHECK((u >= 1ms && u <= 3ms));
    CHECK((s == 1ms || s == 20ms));
    uniform_sum += std::chrono::duration<double, std::milli>(u).count();
    lognormal_sum += std::chrono::duration<double, std::milli>(lognormal.draw(seed)).count();
    slow += s == 20ms;
  }
  CHECK(uniform_sum / kDraws == doctest::Approx(2).epsilon(0.01));
  CHECK(lognormal_sum / kDraws == doctest::Approx(10).epsilon(0.02));
  CHECK(slow / double{kDraws} == doctest::Approx(0.1).epsilon(0.1));
}

TEST_CASE("latency options are checked, and the field is named") {
  CHECK(LatencyOptions{}.validate());
  CHECK(LatencyOptions{.mean_ms = -1}.validate().error().message.starts_with("latency.mean_ms"));
  CHECK(LatencyOptions{.mean_ms = std::nan("")}.validate().error().message.starts_with("latency.mean_ms"));
  CHECK(LatencyOptions{.min_ms = 5, .max_ms = 4}.validate().error().message.starts_with("latency.min_ms"));
  CHECK(LatencyOptions{.straggler_rate = 1.5}.validate().error().message.starts_with("latency.straggler_rate"));
}
