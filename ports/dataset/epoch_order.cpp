#include "ports/dataset/epoch_order.hpp"

#include "ports/dataset/numpy_random.hpp"

namespace pipestill {

std::vector<std::uint64_t> epoch_order(const BigSeed& seed, std::uint64_t epoch, std::uint64_t n) {
  return default_rng(seed + epoch).permutation(n);
}

}  // namespace pipestill
