#include "ports/embedded/adamw.hpp"

#include <cmath>
#include <string>

#include "ports/embedded/kernels.hpp"
#include "ports/embedded/parallel.hpp"

namespace pipestill::embedded {
namespace {

constexpr std::int64_t kFlatBlock = 1 << 14;  // elements of a flat array that make one part of a sum, or one thread's piece

template <class T>
double sum_of_squares(const std::vector<T>& x, int threads) {
  const auto n = static_cast<std::int64_t>(x.size());
  std::vector<double> parts(static_cast<std::size_t>((n + kFlatBlock - 1) / kFlatBlock));
  for_blocks(threads, n, kFlatBlock, [&](std::int64_t begin, std::int64_t end) {
    parts[static_cast<std::size_t>(begin / kFlatBlock)] = kernels::sum_of_squares(x.data() + begin, end - begin);
  });
  double total = 0;
  for (const double part : parts) total += part;
  return total;
}

Result<void> check(const AdamParams& p) {
  const auto bad = [](const char* name, double value, const char* accepted) {
    return fail(ErrorCode::invalid_input, std::string(name) + " is " + std::to_string(value) + "; " + accepted + " is accepted");
  };
  if (!std::isfinite(p.learning_rate) || p.learning_rate < 0) return bad("learning_rate", p.learning_rate, "0 or a positive number");
  if (!(p.beta1 >= 0 && p.beta1 < 1)) return bad("beta1", p.beta1, "a number from 0 and below 1");
  if (!(p.beta2 >= 0 && p.beta2 < 1)) return bad("beta2", p.beta2, "a number from 0 and below 1");
  if (!(p.eps > 0) || std::isinf(p.eps)) return bad("eps", p.eps, "a positive number");
  if (!std::isfinite(p.weight_decay) || p.weight_decay < 0) return bad("weight_decay", p.weight_decay, "0 or a positive number");
  if (!std::isfinite(p.grad_clip_norm) || p.grad_clip_norm < 0) return bad("grad_clip_norm", p.grad_clip_norm, "0 or a positive number");
  return {};
}

}  // namespace

template <class T>
Result<double> AdamW<T>::step(std::vector<T>& weights, const std::vector<T>& gradient, const AdamParams& params, int threads) {
  if (auto sound = check(params); !sound) return fail(std::move(sound.error()));
  const double norm = std::sqrt(sum_of_squares(gradient, threads));
  if (!std::isfinite(norm)) {
    return fail(ErrorCode::backend_failed,
                "the gradient is not finite: training has diverged, and a lower learning rate or clipping may help");
  }

  ++steps;
  const auto correction = [this](double beta) { return static_cast<T>(1 / (1 - std::pow(beta, static_cast<double>(steps)))); };
  const bool is_clipped = params.grad_clip_norm > 0 && norm > params.grad_clip_norm;
  const kernels::AdamStep<T> step{.learning_rate = static_cast<T>(params.learning_rate),
                                  .eps = static_cast<T>(params.eps),
                                  .keep = static_cast<T>(1 - params.learning_rate * params.weight_decay),
                                  .beta1 = static_cast<T>(params.beta1),
                                  .beta2 = static_cast<T>(params.beta2),
                                  .rest1 = static_cast<T>(1 - params.beta1),
                                  .rest2 = static_cast<T>(1 - params.beta2),
                                  .correction1 = correction(params.beta1),
                                  .correction2 = correction(params.beta2),
                                  .gradient_scale = is_clipped ? static_cast<T>(params.grad_clip_norm / norm) : T(1)};
  for_blocks(threads, static_cast<std::int64_t>(gradient.size()), kFlatBlock, [&](std::int64_t begin, std::int64_t end) {
    kernels::adamw(weights.data() + begin, gradient.data() + begin, m.data() + begin, v.data() + begin, end - begin, step);
  });
  return norm;
}

template struct AdamW<float>;
template struct AdamW<double>;

}  // namespace pipestill::embedded
