#pragma once
// How fast single matrix products are on one thread: through the models' own gemm, and in one call of oneDNN's sgemm.
#include <span>
#include <string>
#include <vector>

#include "bench/model_products.hpp"
#include "graph/base/error.hpp"

namespace pipestill::bench {

/// One product with operands of its own. Threads: the calling one alone, whose OpenMP default becomes 1.
class ProductTiming {
 public:
  explicit ProductTiming(const Product& product);

  /// As the models make it: forward over padded storage. Seconds of processor time a call, over calls that fill `at_least_s`.
  [[nodiscard]] double ours(double at_least_s);
  /// The same product in one dnnl_sgemm over all rows. ErrorCode::backend_failed if oneDNN refuses it.
  [[nodiscard]] Result<double> plain_dnnl(double at_least_s);

  [[nodiscard]] const Product& product() const { return product_; }
  void run();  ///< one call of ours

 private:
  Product product_;
  std::vector<float> x_, w_, y_;  ///< [rows, in], [out, in], [rows, out], with storage for the rows that gemm pads
};

/// The shape that rates are quoted for.
inline constexpr Product kReferenceProduct{.rows = 1024, .in = 192, .out = 192};

/// Of the library behind both.
[[nodiscard]] std::string onednn_version();

/// Seconds of processor time for all products, one after the other, through the models' gemm: what a step would take if it did nothing else. The mean over as
/// many rounds as fill `at_least_s`.
[[nodiscard]] double seconds_of(std::span<ProductTiming> products, double at_least_s);

}  // namespace pipestill::bench
