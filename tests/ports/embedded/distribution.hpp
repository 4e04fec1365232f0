#pragma once
// What sampling parameters make of a model's logits, written down a second time in double, and whether samples follow it.
#include <algorithm>
#include <boost/math/distributions/chi_squared.hpp>
#include <cmath>
#include <numeric>
#include <span>
#include <vector>

#include "ports/types.hpp"

namespace pipestill::test {

/// p(token) after temperature, then top_k, then top_p over what is left; among equal logits the lower ids stay. Temperature above 0.
inline std::vector<double> exact_distribution(std::span<const double> logits, const SamplingParams& params) {
  const auto n = logits.size();
  const double best = *std::max_element(logits.begin(), logits.end());
  std::vector<double> p(n);
  for (std::size_t i = 0; i < n; ++i) p[i] = std::exp((logits[i] - best) / params.temperature);
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return logits[a] > logits[b]; });
  if (params.top_k > 0 && static_cast<std::size_t>(params.top_k) < n) order.resize(static_cast<std::size_t>(params.top_k));
  const auto mass = [&] { return std::accumulate(order.begin(), order.end(), 0.0, [&](double sum, auto i) { return sum + p[i]; }); };
  if (params.top_p < 1) {
    const double wanted = params.top_p * mass();
    double sum = 0;
    std::size_t keep = 0;
    while (sum < wanted) sum += p[order[keep++]];
    order.resize(std::max<std::size_t>(keep, 1));
  }
  std::vector<double> kept(n);
  const double total = mass();
  for (const auto i : order) kept[i] = p[i] / total;
  return kept;
}

/// Pearson's chi-squared test: how likely counts that differ this much are, if `expected` is the distribution. 0 where something was drawn
/// that cannot be. Outcomes expected fewer than five times are one outcome.
inline double p_value(std::span<const double> expected, std::span<const int> counts) {
  const double draws = std::accumulate(counts.begin(), counts.end(), 0.0);
  double statistic = 0, rare = 0, rare_seen = 0;
  int cells = 0;
  const auto add = [&](double want, double seen) {
    statistic += (seen - want) * (seen - want) / want;
    ++cells;
  };
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double want = draws * expected[i];
    if (want == 0 && counts[i] > 0) return 0;
    if (want >= 5) {
      add(want, counts[i]);
    } else {
      rare += want;
      rare_seen += counts[i];
    }
  }
  if (rare > 0.5) add(rare, rare_seen);
  if (cells < 2) return 1;
  return boost::math::cdf(boost::math::complement(boost::math::chi_squared(cells - 1), statistic));
}

}  // namespace pipestill::test
