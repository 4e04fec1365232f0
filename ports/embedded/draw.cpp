#include "ports/embedded/draw.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "ports/embedded/kernels.hpp"

namespace pipestill::embedded {
namespace {

/// Orders token ids by logit, highest first, then by id.
auto by_logit(std::span<const float> logits) {
  return [logits](Token a, Token b) {
    const float x = logits[static_cast<std::size_t>(a)], y = logits[static_cast<std::size_t>(b)];
    return x > y || (x == y && a < b);
  };
}

}  // namespace

Result<void> check_sampling_params(const SamplingParams& p) {
  if (p.max_tokens < 1) return fail(ErrorCode::invalid_input, "max_tokens is " + std::to_string(p.max_tokens) + "; at least 1 is accepted");
  if (!(p.temperature >= 0) || std::isinf(p.temperature)) {
    return fail(ErrorCode::invalid_input, "temperature is " + std::to_string(p.temperature) + "; 0 or a positive number is accepted");
  }
  if (p.top_k != -1 && p.top_k < 1)
    return fail(ErrorCode::invalid_input, "top_k is " + std::to_string(p.top_k) + "; -1 or a positive number is accepted");
  if (!(p.top_p > 0 && p.top_p <= 1))
    return fail(ErrorCode::invalid_input, "top_p is " + std::to_string(p.top_p) + "; a number above 0 and at most 1 is accepted");
  return {};
}

Draw TokenDraw::draw(std::span<const float> logits, const SamplingParams& params, double u) {
  const int n = static_cast<int>(logits.size());
  weights_.resize(logits.size());
  const auto full = kernels::exponentials(logits.data(), weights_.data(), n, 1.0f);
  const double normaliser = full.value();
  const auto result = [&](std::size_t i) { return Draw{static_cast<Token>(i), static_cast<float>(logits[i] - normaliser)}; };
  if (params.temperature == 0) return result(static_cast<std::size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));

  double total = full.total;
  if (params.temperature != 1) {
    const double inverse = std::min(1 / params.temperature, 1e30);  // an infinite factor would make 0 * inf of the best token
    total = kernels::exponentials(logits.data(), weights_.data(), n, static_cast<float>(inverse)).total;
  }
  if ((params.top_k != -1 && params.top_k < n) || params.top_p < 1) {
    filter(logits, params);
    total = std::accumulate(weights_.begin(), weights_.end(), 0.0);
  }
  const double wanted = u * total;
  double below = 0;
  std::size_t last = 0;
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    if (weights_[i] == 0) continue;
    last = i;  // rounding may leave the sum just below `wanted`: then the last possible token is the one
    below += weights_[i];
    if (wanted < below) break;
  }
  return result(last);
}

void TokenDraw::filter(std::span<const float> logits, const SamplingParams& params) {
  order_.resize(logits.size());
  std::iota(order_.begin(), order_.end(), 0);
  std::sort(order_.begin(), order_.end(), by_logit(logits));
  auto keep = params.top_k == -1 ? order_.size() : std::min(order_.size(), static_cast<std::size_t>(params.top_k));
  const auto weight = [&](std::size_t i) { return static_cast<double>(weights_[static_cast<std::size_t>(order_[i])]); };
  if (params.top_p < 1) {
    double total = 0, mass = 0;
    for (std::size_t i = 0; i < keep; ++i) total += weight(i);
    std::size_t needed = 0;
    while (needed < keep && mass < params.top_p * total) mass += weight(needed++);
    keep = std::max<std::size_t>(needed, 1);
  }
  for (auto i = keep; i < order_.size(); ++i) weights_[static_cast<std::size_t>(order_[i])] = 0;
}

PositionScore::PositionScore(std::span<const float> logits) : logits_(logits) {
  thread_local std::vector<float> scratch;
  scratch.resize(logits.size());
  normaliser_ = kernels::exponentials(logits.data(), scratch.data(), static_cast<int>(logits.size()), 1.0f).value();
}

std::vector<std::pair<Token, float>> PositionScore::top(int k) const {
  std::vector<Token> order(logits_.size());
  std::iota(order.begin(), order.end(), 0);
  const auto n = std::min(order.size(), static_cast<std::size_t>(std::max(k, 0)));
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(n), order.end(), by_logit(logits_));
  std::vector<std::pair<Token, float>> best;
  for (std::size_t i = 0; i < n; ++i) best.emplace_back(order[i], of(order[i]));
  return best;
}

}  // namespace pipestill::embedded
