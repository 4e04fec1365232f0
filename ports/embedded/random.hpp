#pragma once
// Counter-based random numbers: a draw is a function of a seed and a counter, so it depends on no earlier draw.
#include <cstdint>

namespace pipestill::embedded {

/// The output function of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) on the state after one step: a bijection.
[[nodiscard]] constexpr std::uint64_t mix(std::uint64_t z) {
  z += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

/// 64 random bits for `counter` in the stream of `seed`.
[[nodiscard]] constexpr std::uint64_t random_bits(std::uint64_t seed, std::uint64_t counter) { return mix(mix(seed) ^ mix(~counter)); }

/// Uniform in [0, 1), a multiple of 2^-53.
[[nodiscard]] constexpr double uniform(std::uint64_t seed, std::uint64_t counter) {
  return static_cast<double>(random_bits(seed, counter) >> 11) * 0x1p-53;
}

}  // namespace pipestill::embedded
