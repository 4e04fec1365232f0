#pragma once
// NumPy's Generator(PCG64(...)), draw for draw.
#include <bit>
#include <cstddef>
#include <cstdint>
#include <pcg_random.hpp>
#include <span>
#include <string>
#include <utility>
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
  [[nodiscard]] std::uint32_t next32() {
    if (std::exchange(has_half_, !has_half_)) return half_;
    const std::uint64_t both = next64();
    half_ = static_cast<std::uint32_t>(both >> 32);
    return static_cast<std::uint32_t>(both);
  }
  /// In [0, 1), in steps of 2^-53.
  [[nodiscard]] double next_double() { return static_cast<double>(next64() >> 11) * 0x1p-53; }
  /// In [0, max], by rejection under a mask. max = 0 draws nothing.
  [[nodiscard]] std::uint64_t random_interval(std::uint64_t max) {
    if (max == 0) return 0;
    const std::uint64_t mask = UINT64_MAX >> std::countl_zero(max);
    for (;;) {
      const std::uint64_t value = (max <= UINT32_MAX ? next32() : next64()) & mask;
      if (value <= max) return value;
    }
  }
  /// In [low, high): Generator.integers(low, high) for the dtype int64, by Lemire's multiplication (arXiv:1805.10941). `low` is below `high`.
  [[nodiscard]] std::int64_t integers(std::int64_t low, std::int64_t high);
  /// Generator.shuffle. The draws depend on the number of items alone.
  template <class T>
  void shuffle(std::span<T> items) {
    for (std::size_t i = items.size(); i-- > 1;) std::swap(items[i], items[random_interval(i)]);
  }
  /// The numbers 0 to n - 1, shuffled: Generator.permutation(n).
  [[nodiscard]] std::vector<std::uint64_t> permutation(std::uint64_t n);

  /// Generator.bit_generator.state; the 128-bit numbers in decimal.
  struct State {
    std::string state = {}, inc = {};
    bool has_uint32 = false;
    std::uint32_t uinteger = 0;  ///< the waiting half, or the last that waited
    bool operator==(const State&) const = default;
  };
  [[nodiscard]] State state() const;

  using result_type = std::uint64_t;
  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return UINT64_MAX; }
  result_type operator()() { return next64(); }

 private:
  /// Its numbers are there for derived classes only; pcg-cpp prints them, but not where they are of 128 bits.
  struct Pcg : pcg64 {
    using pcg64::pcg64;
    [[nodiscard]] state_type state() const { return state_; }
    [[nodiscard]] state_type inc() const { return increment(); }
  };
  static Pcg make_pcg(const SeedSequence& seed);

  Pcg pcg_;
  bool has_half_ = false;
  std::uint32_t half_ = 0;
};

/// numpy.random.default_rng(seed).
[[nodiscard]] inline NumpyGenerator default_rng(const BigSeed& seed) { return NumpyGenerator(SeedSequence(seed)); }

}  // namespace pipestill
