#include "ports/dataset/big_seed.hpp"

#include <algorithm>
#include <boost/multiprecision/cpp_int.hpp>
#include <iterator>

#include "ports/printable.hpp"

namespace pipestill {
namespace {

using Integer = boost::multiprecision::cpp_int;

std::vector<std::uint32_t> words_of(const Integer& value) {
  std::vector<std::uint32_t> words;
  boost::multiprecision::export_bits(value, std::back_inserter(words), 32, false);
  return words;
}

Integer integer_of(const std::vector<std::uint32_t>& words) {
  Integer value;
  boost::multiprecision::import_bits(value, words.begin(), words.end(), 32, false);
  return value;
}

}  // namespace

BigSeed::BigSeed(std::uint64_t value) : words_{static_cast<std::uint32_t>(value)} {
  if (value >> 32 != 0) words_.push_back(static_cast<std::uint32_t>(value >> 32));
}

Result<BigSeed> BigSeed::parse(std::string_view decimal) {
  const bool is_number = !decimal.empty() && std::all_of(decimal.begin(), decimal.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!is_number)
    return fail(ErrorCode::invalid_input, "a seed is a non-negative whole number in decimal digits, not \"" + printable(decimal) + "\"");
  Integer value;
  for (const char digit : decimal) value = value * 10 + (digit - '0');  // cpp_int's own reader takes a leading 0 for octal
  BigSeed seed;
  seed.words_ = words_of(value);
  return seed;
}

std::string BigSeed::to_string() const { return integer_of(words_).str(); }

BigSeed operator+(const BigSeed& a, std::uint64_t b) {
  Integer value = integer_of(a.words_);
  value += b;
  BigSeed sum;
  sum.words_ = words_of(value);
  return sum;
}

}  // namespace pipestill
