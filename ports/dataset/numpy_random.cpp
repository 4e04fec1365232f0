#include "ports/dataset/numpy_random.hpp"

#include <bit>
#include <numeric>
#include <utility>

namespace pipestill {
namespace {

pcg64 make_pcg(const SeedSequence& seed) {
  const auto words = seed.generate_state64(4);
  const auto pair = [](std::uint64_t high, std::uint64_t low) { return pcg64::state_type(high) << 64 | low; };
  return pcg64(pair(words[0], words[1]), pair(words[2], words[3]));
}

}  // namespace

NumpyGenerator::NumpyGenerator(const SeedSequence& seed) : pcg_(make_pcg(seed)) {}

std::uint32_t NumpyGenerator::next32() {
  if (half_) return *std::exchange(half_, std::nullopt);
  const std::uint64_t both = next64();
  half_ = static_cast<std::uint32_t>(both >> 32);
  return static_cast<std::uint32_t>(both);
}

std::uint64_t NumpyGenerator::random_interval(std::uint64_t max) {
  if (max == 0) return 0;
  const std::uint64_t mask = UINT64_MAX >> std::countl_zero(max);
  for (;;) {
    const std::uint64_t value = (max <= UINT32_MAX ? next32() : next64()) & mask;
    if (value <= max) return value;
  }
}

std::vector<std::uint64_t> NumpyGenerator::permutation(std::uint64_t n) {
  std::vector<std::uint64_t> order(n);
  std::iota(order.begin(), order.end(), std::uint64_t{0});
  for (std::uint64_t i = n; i-- > 1;) std::swap(order[i], order[random_interval(i)]);
  return order;
}

}  // namespace pipestill
