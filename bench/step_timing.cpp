#include "bench/step_timing.hpp"

#include <utility>

#include <spdlog/fmt/fmt.h>

namespace pipestill::bench {
namespace {

Spread milliseconds(std::vector<double> seconds) {
  for (auto& s : seconds) s *= 1e3;
  return spread(std::move(seconds));
}

}  // namespace

StepTiming::StepTiming(std::string name, double tokens, std::span<const Product> products)
    : name_(std::move(name)), tokens_(tokens), flops_(flops(products)), products_(products.begin(), products.end()) {}

StepTiming::Figures StepTiming::figures(double gflops) const {
  const auto step = milliseconds(wall_s_), cpu = milliseconds(cpu_s_);
  return {step, cpu, milliseconds(products_s_), tokens_ / step.median * 1e3, flops_ / cpu.median * 1e-6, flops_ / gflops * 1e-6};
}

boost::json::object StepTiming::to_json(double gflops) const {
  const auto f = figures(gflops);
  return {{"name", name_},
          {"tokens", tokens_},
          {"gflop", flops_ * 1e-9},
          {"step_ms", bench::to_json(f.step_ms)},
          {"cpu_ms", bench::to_json(f.cpu_ms)},
          {"tokens_per_s", f.tokens_per_s},
          {"gflops", f.gflops},
          {"products_ms", bench::to_json(f.products_ms)},
          {"share_of_products", f.products_ms.median / f.cpu_ms.median},
          {"bound_ms", f.bound_ms},
          {"share_of_bound", f.bound_ms / f.cpu_ms.median}};
}

void StepTiming::print_header() {
  fmt::print("{:<18}{:<28}{:>10}  {:<28}{:>8}{:>13}{:>7}{:>11}{:>7}\n", "", "wall ms a step", "tokens/s", "CPU ms a step", "GFLOP/s", "products ms", "share",
             "bound ms", "share");
}

void StepTiming::print(double gflops) const {
  const auto f = figures(gflops);
  fmt::print("{:<18}{:<28}{:>10.0f}  {:<28}{:>8.1f}{:>13.3f}{:>7.2f}{:>11.3f}{:>7.2f}\n", name_, to_text(f.step_ms, 3), f.tokens_per_s, to_text(f.cpu_ms, 3), f.gflops,
             f.products_ms.median, f.products_ms.median / f.cpu_ms.median, f.bound_ms, f.bound_ms / f.cpu_ms.median);
}

std::string ReferenceRate::line() const {
  const auto& p = kReferenceProduct;
  return fmt::format("products: the step's matrix products alone; bound: its operations at the rate of gemm at {} x {} x {}, {} GFLOP/s;\nboth, their shares and GFLOP/s, in processor time\n",
                     p.rows, p.in, p.out, to_text(gflops(), 1));
}

Result<void> measure_in_turn(std::size_t repetitions, double seconds, std::vector<StepTiming>& timings, ReferenceRate& reference,
                             const std::function<Result<Taken>(std::size_t)>& take) {
  const double of_products = seconds / 4;
  std::vector<Measure> measures;
  for (std::size_t i = 0; i < timings.size(); ++i) {
    measures.push_back([&, i]() -> Result<void> {
      return take(i).map([&, i](const Taken& taken) {
        timings[i].add(taken);
        timings[i].measure_products(of_products);
      });
    });
  }
  measures.push_back([&]() -> Result<void> {
    reference.measure(of_products);
    return {};
  });
  return interleave(repetitions, measures);
}

void print_steps(const std::vector<StepTiming>& timings, const ReferenceRate& reference) {
  StepTiming::print_header();
  for (const auto& timing : timings) timing.print(reference.gflops().median);
  fmt::print("\n{}", reference.line());
}

}  // namespace pipestill::bench
