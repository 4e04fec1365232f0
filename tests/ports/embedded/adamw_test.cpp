// The optimizer's whole step against the papers' formulas, written out plainly, and float32 against double.
#include "ports/embedded/adamw.hpp"

#include <cmath>
#include <limits>

#include "ports/embedded/random.hpp"
#include "tests/ports/embedded/support.hpp"

using namespace pipestill;
using namespace pipestill::embedded;

namespace {

constexpr std::size_t kSize = 20003;  // two blocks, and a tail that fills no vector

/// Numbers that are float32, of magnitudes from 1e-6 to 1.
std::vector<double> numbers(std::uint64_t seed) {
  std::vector<double> x(kSize);
  for (std::size_t i = 0; i < kSize; ++i) {
    x[i] = static_cast<float>((uniform(seed, 2 * i) - 0.5) * std::pow(10.0, -6 * uniform(seed, 2 * i + 1)));
  }
  return x;
}

double exact_norm_of(const std::vector<double>& x) {
  long double squares = 0;
  for (const double v : x) squares += static_cast<long double>(v) * v;
  return static_cast<double>(std::sqrt(squares));
}

/// arXiv 1711.05101, algorithm 2 with the schedule multiplier eta = learning_rate and alpha = 1, after arXiv 1211.5063's clipping. A
/// parameter at a time, line by line.
struct Paper {
  std::vector<double> theta, m = std::vector<double>(kSize), v = std::vector<double>(kSize);
  int t = 0;

  void step(std::vector<double> g, const AdamParams& p) {
    const double norm = exact_norm_of(g);
    if (p.grad_clip_norm > 0 && norm > p.grad_clip_norm) {
      for (auto& x : g) x = x / norm * p.grad_clip_norm;
    }
    ++t;
    const double correction1 = 1 - std::pow(p.beta1, t), correction2 = 1 - std::pow(p.beta2, t);
    for (std::size_t i = 0; i < kSize; ++i) {
      m[i] = p.beta1 * m[i] + (1 - p.beta1) * g[i];
      v[i] = p.beta2 * v[i] + (1 - p.beta2) * g[i] * g[i];
      const double m_hat = m[i] / correction1, v_hat = v[i] / correction2;
      theta[i] -= p.learning_rate * (m_hat / (std::sqrt(v_hat) + p.eps) + p.weight_decay * theta[i]);
    }
  }
};

std::vector<AdamParams> all_params() {
  std::vector<AdamParams> all;
  for (const double beta2 : {0.95, 0.999}) {
    for (const double weight_decay : {0.0, 0.3}) {
      for (const double clip : {0.0, 0.7, 1e6}) {  // off, at work, and above every norm here
        all.push_back(
            {.learning_rate = 3e-3, .beta1 = 0.9, .beta2 = beta2, .eps = 1e-8, .weight_decay = weight_decay, .grad_clip_norm = clip});
      }
    }
  }
  return all;
}

}  // namespace

TEST_CASE("a step in double is the papers' formula") {
  for (const auto& params : all_params()) {
    CAPTURE(params.beta2);
    CAPTURE(params.weight_decay);
    CAPTURE(params.grad_clip_norm);
    Paper paper;
    paper.theta = numbers(1);
    auto weights = paper.theta;
    AdamW<double> optimizer(kSize);
    for (std::uint64_t t = 0; t < 4; ++t) {
      const auto gradient = numbers(10 + t);
      const auto before = paper.theta;
      paper.step(gradient, params);
      const double norm = test::value_of(optimizer.step(weights, gradient, params, 2));
      CHECK(norm == doctest::Approx(exact_norm_of(gradient)).epsilon(1e-13));
      CHECK(norm > 0.7);
      double worst = 0;
      for (std::size_t i = 0; i < kSize; ++i) {
        const double scale = std::abs(before[i]) + params.learning_rate;
        worst = std::max(worst, std::abs(weights[i] - paper.theta[i]) / scale);
      }
      CHECK(worst < 1e-14);
    }
    CHECK(optimizer.steps == 4);
  }
}

TEST_CASE("a step in float32 is the one in double, to the roundings of its formula") {
  constexpr double u = std::numeric_limits<float>::epsilon() / 2;
  for (const auto& params : all_params()) {
    CAPTURE(params.beta2);
    CAPTURE(params.weight_decay);
    CAPTURE(params.grad_clip_norm);
    AdamW<float> narrow(kSize);
    const auto start = numbers(1);
    std::vector<float> narrow_weights(start.begin(), start.end());
    double worst = 0;
    for (std::uint64_t t = 0; t < 3; ++t) {
      // Both start from the same state, so that what is measured is one step's rounding and not its growth.
      std::vector<double> weights(narrow_weights.begin(), narrow_weights.end());
      AdamW<double> wide(kSize);
      wide.m.assign(narrow.m.begin(), narrow.m.end());
      wide.v.assign(narrow.v.begin(), narrow.v.end());
      wide.steps = narrow.steps;
      const auto before = weights, m = wide.m, v = wide.v;
      const auto gradient = numbers(10 + t);
      const double norm = test::value_of(wide.step(weights, gradient, params, 1));
      CHECK(test::value_of(narrow.step(narrow_weights, std::vector<float>(gradient.begin(), gradient.end()), params, 2)) == norm);

      const double scale = params.grad_clip_norm > 0 && norm > params.grad_clip_norm ? params.grad_clip_norm / norm : 1;
      const auto steps = static_cast<double>(wide.steps);
      const double correction1 = 1 / (1 - std::pow(params.beta1, steps)), correction2 = 1 / (1 - std::pow(params.beta2, steps));
      for (std::size_t i = 0; i < kSize; ++i) {
        const double g = scale * gradient[i];
        // Every operation errs by u of its result, and every constant by u of itself; 1 - beta and 1 - learning_rate * weight_decay are constants.
        const double m_error = 2 * u * std::abs(params.beta1 * m[i]) + 5 * u * std::abs((1 - params.beta1) * g) + u * std::abs(wide.m[i]);
        const double v_error = 2 * u * params.beta2 * v[i] + 9 * u * (1 - params.beta2) * g * g + u * wide.v[i];
        const double root = std::sqrt(wide.v[i] * correction2), divisor = root + params.eps;
        const double move = params.learning_rate * std::abs(wide.m[i]) * correction1 / divisor;
        const double move_error =
            params.learning_rate * correction1 * m_error / divisor + move * ((wide.v[i] > 0 ? v_error / (2 * wide.v[i]) : 0) + 8 * u);
        const double bound = move_error + 2 * u * std::abs(before[i]) + u * std::abs(weights[i]) + 1e-40;
        worst = std::max(worst, std::abs(static_cast<double>(narrow_weights[i]) - weights[i]) / bound);
        worst = std::max(worst, std::abs(static_cast<double>(narrow.m[i]) - wide.m[i]) / (m_error + 1e-40));
        worst = std::max(worst, std::abs(static_cast<double>(narrow.v[i]) - wide.v[i]) / (v_error + 1e-40));
      }
    }
    CHECK(worst <= 1);
    CHECK(worst > 0.05);  // a bound that says something
  }
}

TEST_CASE("a step that is refused changes nothing") {
  AdamW<double> optimizer(2);
  std::vector<double> weights{1, 2};
  const auto refuse = [&](const AdamParams& params, std::vector<double> gradient, ErrorCode code, const char* text) {
    const auto step = optimizer.step(weights, gradient, params, 1);
    REQUIRE_FALSE(step);
    CHECK(step.error().code == code);
    CHECK(step.error().message.find(text) != std::string::npos);
    CHECK(weights == std::vector<double>{1, 2});
    CHECK(optimizer.steps == 0);
  };
  refuse({.beta2 = 1}, {1, 1}, ErrorCode::invalid_input, "beta2 is 1");
  refuse({.weight_decay = -1}, {1, 1}, ErrorCode::invalid_input, "weight_decay is -1");
  refuse({}, {1, std::numeric_limits<double>::infinity()}, ErrorCode::backend_failed, "not finite");
}
