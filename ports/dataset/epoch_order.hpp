#pragma once
// In which order an epoch visits the rows.
#include <cstdint>
#include <variant>
#include <vector>

#include "ports/dataset/big_seed.hpp"

namespace pipestill {

/// numpy.random.default_rng(seed + epoch).permutation(n): entry k is the row that comes k-th.
/// 4 bytes a row up to 2^32 rows, 8 beyond. Immutable.
class EpochOrder {
 public:
  EpochOrder() = default;  ///< of no rows
  EpochOrder(const BigSeed& seed, std::uint64_t epoch, std::uint64_t n);

  [[nodiscard]] std::uint64_t size() const {
    return std::visit([](const auto& rows) -> std::uint64_t { return rows.size(); }, rows_);
  }
  [[nodiscard]] std::uint64_t operator[](std::uint64_t k) const {
    return std::visit([k](const auto& rows) -> std::uint64_t { return rows[k]; }, rows_);
  }

 private:
  std::variant<std::vector<std::uint32_t>, std::vector<std::uint64_t>> rows_;
};

}  // namespace pipestill
