#pragma once
// Every float32 matrix product of the embedded models: dnnl_sgemm, called so that a row's bits depend on nothing but that row.
//
// dnnl_sgemm promises no such thing. Measured with oneDNN 2.6.3 on an AVX2 machine, over twelve shapes from 64 x 64 to
// 512 x 2048 and 1 to 400 rows: a row's bits differ from those in a full batch whenever the rows that are left over after
// blocks of 48 or 96 number 1, 2 or 3 beyond a multiple of six (another kernel takes them, which splits the sum
// differently), and a second thread moves those borders. With 12, 24, ... 96 rows in a call on one thread they never
// differ, nor does a row's place in the call matter. Hence: rows go to dnnl_sgemm in blocks of 96, the last block filled
// up to a multiple of 12, always on one thread; several threads share the blocks. 96 rows a call cost 2 % against
// one call. Where even that does not hold, the self-test at start-up says so (self_test.hpp).
#include <cstdint>

namespace pipestill::embedded::gemm {

/// Rows of storage that the last block needs.
[[nodiscard]] constexpr std::int64_t padded_rows(std::int64_t rows) { return (rows + 11) / 12 * 12; }

/// Whether the arrays of rows have storage for padded_rows(rows): then the last block is computed in place and what
/// lies behind the last row is overwritten; otherwise it goes through a copy.
enum class Storage { exact, padded };
enum class Result { overwrite, add };

/// y = x w^T, or y += x w^T. x: [rows, in], w: [out, in], y: [rows, out].
void forward(const float* x, const float* w, float* y, std::int64_t rows, int in, int out, Result result, Storage storage, int threads);
/// dx = dy w. dy: [rows, out], w: [out, in], dx: [rows, in].
void backward_input(const float* dy, const float* w, float* dx, std::int64_t rows, int in, int out, int threads);
/// dw = dy^T x. The sum runs over all rows in one call for each 96 rows of dw.
void backward_weight(const float* dy, const float* x, float* dw, std::int64_t rows, int in, int out, int threads);

}  // namespace pipestill::embedded::gemm
