#include "ports/embedded/gemm.hpp"

#include <doctest/doctest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

using namespace pipestill::embedded;

namespace {

std::vector<float> random_numbers(std::size_t n, unsigned seed) {
  std::mt19937 engine(seed);
  std::vector<float> x(n);
  for (auto& v : x) v = static_cast<float>(static_cast<int>(engine() % 2001) - 1000) / 500.0f;
  return x;
}

}  // namespace

TEST_CASE("a row of a product has the same bits among any number of rows, on any number of threads") {
  omp_set_num_threads(1);
  for (const auto& [in, out] : {std::pair{32, 40}, {64, 192}, {128, 64}, {72, 151}, {256, 128}}) {
    constexpr int kRows = 210;
    const auto x = random_numbers(static_cast<std::size_t>(kRows * in), 1), w = random_numbers(static_cast<std::size_t>(out * in), 2);
    const auto start = random_numbers(static_cast<std::size_t>(kRows * out), 3);
    for (const auto result : {gemm::Result::overwrite, gemm::Result::add}) {
      auto all = start;
      gemm::forward(x.data(), w.data(), all.data(), kRows, in, out, result, gemm::Storage::exact, 1);
      for (int rows = 1; rows < kRows; ++rows) {
        auto some = start;
        const auto storage = rows + 12 <= kRows && rows % 2 ? gemm::Storage::padded : gemm::Storage::exact;
        gemm::forward(x.data(), w.data(), some.data(), rows, in, out, result, storage, 1 + rows % 3);
        CHECK(std::memcmp(some.data(), all.data(), static_cast<std::size_t>(rows * out) * 4) == 0);
        // The last row alone.
        std::vector<float> one(start.begin() + (rows - 1) * out, start.begin() + rows * out);
        gemm::forward(x.data() + (rows - 1) * in, w.data(), one.data(), 1, in, out, result, gemm::Storage::exact, 1);
        CHECK(std::memcmp(one.data(), all.data() + (rows - 1) * out, static_cast<std::size_t>(out) * 4) == 0);
      }
    }
  }
}

TEST_CASE("the three products are what they should be, on any number of threads") {
  omp_set_num_threads(1);
  constexpr int kRows = 1100, kIn = 40, kOut = 200;
  const auto x = random_numbers(kRows * kIn, 1), w = random_numbers(kOut * kIn, 2), dy = random_numbers(kRows * kOut, 3);
  for (const int threads : {1, 2, 4}) {
    std::vector<float> y(kRows * kOut), dx(kRows * kIn), dw(kOut * kIn);
    gemm::forward(x.data(), w.data(), y.data(), kRows, kIn, kOut, gemm::Result::overwrite, gemm::Storage::exact, threads);
    gemm::backward_input(dy.data(), w.data(), dx.data(), kRows, kIn, kOut, threads);
    gemm::backward_weight(dy.data(), x.data(), dw.data(), kRows, kIn, kOut, threads);
    const auto at = [](const std::vector<float>& m, int row, int column, int width) {
      return static_cast<double>(m[static_cast<std::size_t>(row * width + column)]);
    };
    double worst = 0;
    for (int i = 0; i < 40; ++i) {
      const int row = i * 27 % kRows, in = i * 7 % kIn, out = i * 31 % kOut;
      double forward = 0, input = 0, weight = 0;
      for (int k = 0; k < kIn; ++k) forward += at(x, row, k, kIn) * at(w, out, k, kIn);
      for (int k = 0; k < kOut; ++k) input += at(dy, row, k, kOut) * at(w, k, in, kIn);
      for (int k = 0; k < kRows; ++k) weight += at(dy, k, out, kOut) * at(x, k, in, kIn);
      worst = std::max({worst, std::abs(forward - at(y, row, out, kOut)), std::abs(input - at(dx, row, in, kIn)),
                        std::abs(weight - at(dw, out, in, kIn))});
    }
    CHECK(worst < 2e-3);
    static std::vector<float> first;
    if (first.empty()) first = dw;
    CHECK(std::memcmp(first.data(), dw.data(), dw.size() * 4) == 0);
  }
}
