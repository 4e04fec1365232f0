#include "ports/dataset/seed_sequence.hpp"

#include <algorithm>

namespace pipestill {
namespace {

constexpr std::uint32_t kInitA = 0x43b0d7e5, kMultA = 0x931e8875;
constexpr std::uint32_t kInitB = 0x8b51f9dd, kMultB = 0x58f38ded;
constexpr std::uint32_t kMixL = 0xca01f9dd, kMixR = 0x4973f715;
constexpr int kShift = 16;

std::uint32_t mix(std::uint32_t x, std::uint32_t y) {
  const std::uint32_t r = kMixL * x - kMixR * y;
  return r ^ (r >> kShift);
}

/// One running constant for a whole mixing; every call multiplies with the constant that it has just changed.
struct HashMix {
  std::uint32_t constant, multiplier;
  std::uint32_t operator()(std::uint32_t value) {
    value ^= constant;
    constant *= multiplier;
    value *= constant;
    return value ^ (value >> kShift);
  }
};

std::vector<std::uint32_t> entropy_words(std::span<const BigSeed> entropy, std::span<const std::uint64_t> spawn_key, std::size_t pool_size) {
  std::vector<std::uint32_t> words;
  for (const auto& number : entropy) words.insert(words.end(), number.words().begin(), number.words().end());
  if (!spawn_key.empty() && words.size() < pool_size) words.resize(pool_size);  // or a key could pass for a longer seed
  for (const std::uint64_t number : spawn_key) {
    const BigSeed key(number);
    words.insert(words.end(), key.words().begin(), key.words().end());
  }
  return words;
}

}  // namespace

SeedSequence::SeedSequence(const BigSeed& entropy, std::span<const std::uint64_t> spawn_key)
    : SeedSequence(std::span<const BigSeed>(&entropy, 1), spawn_key) {}

SeedSequence::SeedSequence(std::span<const BigSeed> entropy, std::span<const std::uint64_t> spawn_key) {
  const auto words = entropy_words(entropy, spawn_key, pool_.size());
  HashMix hash{kInitA, kMultA};
  for (std::size_t i = 0; i < pool_.size(); ++i) pool_[i] = hash(i < words.size() ? words[i] : 0);
  for (std::size_t src = 0; src < pool_.size(); ++src) {
    for (std::size_t dst = 0; dst < pool_.size(); ++dst) {
      if (src != dst) pool_[dst] = mix(pool_[dst], hash(pool_[src]));
    }
  }
  for (std::size_t i = pool_.size(); i < words.size(); ++i) {
    for (auto& word : pool_) word = mix(word, hash(words[i]));
  }
}

std::vector<std::uint32_t> SeedSequence::generate_state32(std::size_t n) const {
  std::vector<std::uint32_t> state(n);
  HashMix hash{kInitB, kMultB};
  for (std::size_t i = 0; i < n; ++i) state[i] = hash(pool_[i % pool_.size()]);
  return state;
}

std::vector<std::uint64_t> SeedSequence::generate_state64(std::size_t n) const {
  const auto halves = generate_state32(2 * n);
  std::vector<std::uint64_t> state(n);
  for (std::size_t i = 0; i < n; ++i) state[i] = halves[2 * i] | std::uint64_t{halves[2 * i + 1]} << 32;
  return state;
}

}  // namespace pipestill
