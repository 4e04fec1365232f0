#pragma once
// NumPy's Generator(PCG64(...)), draw for draw.
#include <cstdint>
#include <optional>
#include <pcg_random.hpp>
#include <vector>

#include "ports/dataset/seed_sequence.hpp"

namespace pipestill {

/// Gives the draws of numpy.random.Generator(numpy.random.PCG64(seed sequence)) in NumPy 1.19 and later.
/// Also a uniform random bit generator for the standard library's distributions, whose results are not NumPy's.
/// A value; one thread at a time.
class NumpyGenerator {
 public:
  explicit NumpyGenerator(const SeedSequence& seed);

  [[nodiscard]] std::uint64_t next64() { return pcg_(); }
  /// Half of a 64-bit draw, the low one first; the high one waits for the next call, across calls of next64 too.
  [[nodiscard]] std::uint32_t next32();
  /// In [0, 1), in steps of 2^-53.
  [[nodiscard]] double next_double() { return static_cast<double>(next64() >> 11) * 0x1p-53; }
  /// In [0, max], by rejection under a mask. max = 0 draws nothing.
  [[nodiscard]] std::uint64_t random_interval(std::uint64_t max);
  /// The numbers 0 to n - 1, shuffled: Generator.permutation(n).
  [[nodiscard]] std::vector<std::uint64_t> permutation(std::uint64_t n);

  using result_type = std::uint64_t;
  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return UINT64_MAX; }
  result_type operator()() { return next64(); }

 private:
  pcg64 pcg_;
  std::optional<std::uint32_t> half_;
};

/// numpy.random.default_rng(seed).
[[nodiscard]] inline NumpyGenerator default_rng(const BigSeed& seed) { return NumpyGenerator(SeedSequence(seed)); }

}  // namespace pipestill
