#pragma once
// SeedSequence: NumPy's way from a seed to the state of a generator.
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ports/dataset/big_seed.hpp"

namespace pipestill {

/// Gives the words that numpy.random.SeedSequence(entropy, spawn_key=...) gives (NumPy 1.19 and later, pool of 4 words).
/// The mixing is O'Neill's seed_seq_fe; its constants are those of NumPy's bit_generator.pyx. Immutable.
class SeedSequence {
 public:
  /// Every number of the spawn key counts with its 32-bit words, as few as it needs.
  explicit SeedSequence(const BigSeed& entropy, std::span<const std::uint64_t> spawn_key = {});
  /// SeedSequence([...]): several numbers count with their words one behind the other.
  explicit SeedSequence(std::span<const BigSeed> entropy, std::span<const std::uint64_t> spawn_key = {});

  /// The mixed entropy, from which every state is generated.
  [[nodiscard]] const std::array<std::uint32_t, 4>& pool() const { return pool_; }
  [[nodiscard]] std::vector<std::uint32_t> generate_state32(std::size_t n) const;
  /// Pairs of 32-bit words, low half first.
  [[nodiscard]] std::vector<std::uint64_t> generate_state64(std::size_t n) const;

 private:
  std::array<std::uint32_t, 4> pool_;
};

}  // namespace pipestill
