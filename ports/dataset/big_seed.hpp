#pragma once
// BigSeed: a seed as NumPy takes it, a whole number of any size.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "graph/base/error.hpp"

namespace pipestill {

/// A non-negative integer of any size. A value.
class BigSeed {
 public:
  BigSeed(std::uint64_t value = 0);  // implicit: most seeds are small numbers

  /// Decimal digits and nothing else, as in a recipe or on the command line.
  [[nodiscard]] static Result<BigSeed> parse(std::string_view decimal);
  [[nodiscard]] std::string to_string() const;  ///< decimal

  /// 32-bit words, least significant first, without zero words at the end; zero is one zero word.
  [[nodiscard]] const std::vector<std::uint32_t>& words() const { return words_; }

  friend BigSeed operator+(const BigSeed& a, std::uint64_t b);
  bool operator==(const BigSeed&) const = default;

 private:
  std::vector<std::uint32_t> words_;
};

}  // namespace pipestill
