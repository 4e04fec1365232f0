#include "ports/embedded/gemm.hpp"

#include <oneapi/dnnl/dnnl.h>

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

#include "ports/embedded/parallel.hpp"

namespace pipestill::embedded::gemm {
namespace {

constexpr std::int64_t kBlock = 96;

/// Remembers the first failure, because nothing may be thrown out of a team.
class Status {
 public:
  void note(dnnl_status_t status) {
    if (status != dnnl_success) failed_.store(static_cast<int>(status), std::memory_order_relaxed);
  }
  void raise() const {
    if (const int status = failed_.load()) throw std::runtime_error("dnnl_sgemm failed with status " + std::to_string(status));
  }

 private:
  std::atomic<int> failed_{0};
};

/// y[rows, n] = x[rows, k] B + beta y, with B = w^T where `is_transposed`, in blocks of rows.
void by_rows(const float* x, const float* w, bool is_transposed, float* y, std::int64_t rows, int k, int n, float beta, Storage storage,
             int threads) {
  Status status;
  const auto call = [&](const float* from, float* to, std::int64_t count) {
    status.note(dnnl_sgemm('N', is_transposed ? 'T' : 'N', count, n, k, 1.0f, from, k, w, is_transposed ? k : n, beta, to, n));
  };
  for_blocks(threads, rows, kBlock, [&](std::int64_t begin, std::int64_t end) {
    const auto count = end - begin, padded = padded_rows(count);
    if (count == padded || storage == Storage::padded) return call(x + begin * k, y + begin * n, padded);
    thread_local std::vector<float> from, to;
    from.assign(static_cast<std::size_t>(padded * k), 0.0f);
    to.assign(static_cast<std::size_t>(padded * n), 0.0f);
    std::copy(x + begin * k, x + end * k, from.begin());
    if (beta != 0) std::copy(y + begin * n, y + end * n, to.begin());
    call(from.data(), to.data(), padded);
    std::copy(to.begin(), to.begin() + count * n, y + begin * n);
  });
  status.raise();
}

}  // namespace

void forward(const float* x, const float* w, float* y, std::int64_t rows, int in, int out, Result result, Storage storage, int threads) {
  by_rows(x, w, true, y, rows, in, out, result == Result::add ? 1.0f : 0.0f, storage, threads);
}

void backward_input(const float* dy, const float* w, float* dx, std::int64_t rows, int in, int out, int threads) {
  by_rows(dy, w, false, dx, rows, out, in, 0.0f, Storage::exact, threads);
}

void backward_weight(const float* dy, const float* x, float* dw, std::int64_t rows, int in, int out, int threads) {
  Status status;
  for_blocks(threads, out, kBlock, [&](std::int64_t begin, std::int64_t end) {
    status.note(dnnl_sgemm('T', 'N', end - begin, in, rows, 1.0f, dy + begin, out, x, in, 0.0f, dw + begin * in, in));
  });
  status.raise();
}

}  // namespace pipestill::embedded::gemm
