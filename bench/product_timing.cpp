#include "bench/product_timing.hpp"

#include <oneapi/dnnl/dnnl.h>
#include <omp.h>

#include <string>

#include "bench/harness.hpp"
#include "ports/embedded/gemm.hpp"

namespace pipestill::bench {
namespace {

namespace gemm = embedded::gemm;

/// Values of ordinary size; the time does not depend on them as long as none is denormal.
std::vector<float> numbers(std::int64_t rows, int width) {
  std::vector<float> out(static_cast<std::size_t>(rows * width));
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(i % 17) * 0.125f - 1.0f;
  return out;
}

}  // namespace

ProductTiming::ProductTiming(const Product& product)
    : product_(product),
      x_(numbers(gemm::padded_rows(product.rows), product.in)),
      w_(numbers(product.out, product.in)),
      y_(numbers(gemm::padded_rows(product.rows), product.out)) {}

void ProductTiming::run() {
  const auto& p = product_;
  switch (p.kind) {
    case Product::Kind::forward:
      gemm::forward(x_.data(), w_.data(), y_.data(), p.rows, p.in, p.out, gemm::Result::overwrite, gemm::Storage::padded, 1);
      break;
    case Product::Kind::backward_input:
      gemm::backward_input(y_.data(), w_.data(), x_.data(), p.rows, p.in, p.out, 1);
      break;
    case Product::Kind::backward_weight:
      gemm::backward_weight(y_.data(), x_.data(), w_.data(), p.rows, p.in, p.out, 1);
      break;
  }
}

double ProductTiming::ours(double at_least_s) {
  omp_set_num_threads(1);
  return per_call(at_least_s, [this] { run(); }).cpu_s;
}

Result<double> ProductTiming::plain_dnnl(double at_least_s) {
  omp_set_num_threads(1);
  const auto& p = product_;
  dnnl_status_t status = dnnl_success;
  const auto taken = per_call(at_least_s, [&] {
    dnnl_status_t called = dnnl_success;
    switch (p.kind) {
      case Product::Kind::forward:
        called = dnnl_sgemm('N', 'T', p.rows, p.out, p.in, 1.0f, x_.data(), p.in, w_.data(), p.in, 0.0f, y_.data(), p.out);
        break;
      case Product::Kind::backward_input:
        called = dnnl_sgemm('N', 'N', p.rows, p.in, p.out, 1.0f, y_.data(), p.out, w_.data(), p.in, 0.0f, x_.data(), p.in);
        break;
      case Product::Kind::backward_weight:
        called = dnnl_sgemm('T', 'N', p.out, p.in, p.rows, 1.0f, y_.data(), p.out, x_.data(), p.in, 0.0f, w_.data(), p.in);
        break;
    }
    if (called != dnnl_success) status = called;
  });
  if (status == dnnl_success) return taken.cpu_s;
  return fail(ErrorCode::backend_failed, "dnnl_sgemm failed with status " + std::to_string(static_cast<int>(status)));
}

std::string onednn_version() {
  const auto* v = dnnl_version();
  return std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
}

double seconds_of(std::span<ProductTiming> products, double at_least_s) {
  omp_set_num_threads(1);
  return per_call(at_least_s, [&] {
           for (auto& product : products) product.run();
         }).cpu_s;
}

}  // namespace pipestill::bench
