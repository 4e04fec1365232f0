#include "ports/dataset/numpy_random.hpp"

#include <numeric>

namespace pipestill {
namespace {

std::string decimal_of(pcg64::state_type number) {
  std::string digits;
  do {
    digits.insert(digits.begin(), static_cast<char>('0' + static_cast<int>(number % 10)));
    number /= 10;
  } while (number != 0);
  return digits;
}

/// In [0, max] for a max below the largest Word: the high half of a product, drawn again where its low half would favour some results.
template <class Word, class Wide, class Draw>
Word lemire(Word max, Draw draw) {
  constexpr int kBits = 8 * sizeof(Word);
  const Word count = max + 1;
  Wide product = Wide{draw()} * count;
  if (static_cast<Word>(product) < count) {
    const Word threshold = static_cast<Word>(~max) % count;
    while (static_cast<Word>(product) < threshold) product = Wide{draw()} * count;
  }
  return static_cast<Word>(product >> kBits);
}

}  // namespace

NumpyGenerator::Pcg NumpyGenerator::make_pcg(const SeedSequence& seed) {
  const auto words = seed.generate_state64(4);
  const auto pair = [](std::uint64_t high, std::uint64_t low) { return pcg64::state_type(high) << 64 | low; };
  return Pcg(pair(words[0], words[1]), pair(words[2], words[3]));
}

NumpyGenerator::NumpyGenerator(const SeedSequence& seed) : pcg_(make_pcg(seed)) {}

std::int64_t NumpyGenerator::integers(std::int64_t low, std::int64_t high) {
  const std::uint64_t max = static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(low) - 1;
  std::uint64_t drawn = 0;
  if (max == UINT32_MAX) {
    drawn = next32();
  } else if (max == UINT64_MAX) {
    drawn = next64();
  } else if (max > UINT32_MAX) {
    drawn = lemire<std::uint64_t, unsigned __int128>(max, [this] { return next64(); });
  } else if (max > 0) {
    drawn = lemire<std::uint32_t, std::uint64_t>(static_cast<std::uint32_t>(max), [this] { return next32(); });
  }
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(low) + drawn);
}

std::vector<std::uint64_t> NumpyGenerator::permutation(std::uint64_t n) {
  std::vector<std::uint64_t> order(n);
  std::iota(order.begin(), order.end(), std::uint64_t{0});
  shuffle(std::span(order));
  return order;
}

NumpyGenerator::State NumpyGenerator::state() const {
  return {.state = decimal_of(pcg_.state()), .inc = decimal_of(pcg_.inc()), .has_uint32 = has_half_, .uinteger = half_};
}

}  // namespace pipestill
