#include "ports/dataset/epoch_order.hpp"

#include <numeric>
#include <span>

#include "ports/dataset/numpy_random.hpp"

namespace pipestill {
namespace {

template <class Number>
std::vector<Number> shuffled_rows(NumpyGenerator random, std::uint64_t n) {
  std::vector<Number> rows(n);
  std::iota(rows.begin(), rows.end(), Number{0});
  random.shuffle(std::span(rows));
  return rows;
}

}  // namespace

EpochOrder::EpochOrder(const BigSeed& seed, std::uint64_t epoch, std::uint64_t n) {
  constexpr std::uint64_t kShort = std::uint64_t{1} << 32;
  if (n <= kShort) {
    rows_ = shuffled_rows<std::uint32_t>(default_rng(seed + epoch), n);
  } else {
    rows_ = shuffled_rows<std::uint64_t>(default_rng(seed + epoch), n);
  }
}

}  // namespace pipestill
