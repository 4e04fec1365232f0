#pragma once
// The time of a model's steps beside that of their matrix products alone. Tokens/s are by the wall clock; operations/s and shares compare
// processor time, which other processes disturb less.
#include <boost/json/object.hpp>
#include <string>
#include <vector>

#include "bench/harness.hpp"
#include "bench/product_timing.hpp"

namespace pipestill::bench {

/// One kind of step of one model.
class StepTiming {
 public:
  /// `tokens`: how many a step yields, or learns from. `products` are the step's.
  StepTiming(std::string name, double tokens, std::span<const Product> products);

  void add(const Taken& step) {
    wall_s_.push_back(step.wall_s);
    cpu_s_.push_back(step.cpu_s);
  }
  void measure_products(double at_least_s) { products_s_.push_back(seconds_of(products_, at_least_s)); }

  /// Milliseconds, tokens/s, GFLOP/s; `share_of_products` is the products' part of the step, `share_of_bound` the part that as many operations
  /// would take at the rate `gflops`.
  [[nodiscard]] boost::json::object to_json(double gflops) const;
  static void print_header();
  void print(double gflops) const;

 private:
  struct Figures {
    Spread step_ms, cpu_ms, products_ms;
    double tokens_per_s, gflops, bound_ms;
  };
  [[nodiscard]] Figures figures(double gflops) const;

  std::string name_;
  double tokens_, flops_;
  std::vector<ProductTiming> products_;
  std::vector<double> wall_s_, cpu_s_, products_s_;
};

/// The models' gemm at the reference shape, measured among the steps.
class ReferenceRate {
 public:
  void measure(double at_least_s) { gflops_.push_back(flops({&kReferenceProduct, 1}) * 1e-9 / timing_.ours(at_least_s)); }
  [[nodiscard]] Spread gflops() const { return spread(gflops_); }
  [[nodiscard]] std::string line() const;

 private:
  ProductTiming timing_{kReferenceProduct};
  std::vector<double> gflops_;
};

/// Takes every step `repetitions` times in turn, by `take`(its place in `timings`), and with each its products alone; between them the reference.
[[nodiscard]] Result<void> measure_in_turn(std::size_t repetitions, double seconds, std::vector<StepTiming>& timings, ReferenceRate& reference,
                                           const std::function<Result<Taken>(std::size_t)>& take);
/// The table of `timings`, and the reference below it.
void print_steps(const std::vector<StepTiming>& timings, const ReferenceRate& reference);

}  // namespace pipestill::bench
