#pragma once
// Characters as Hugging Face tokenizers 0.23.2 has them: classes of Unicode 16, NFC of Unicode 9.
#include <algorithm>
#include <span>
#include <string_view>

namespace pipestill::unicode {

struct CodeRange {
  char32_t first, last;  ///< both of it
};
using CodeRanges = std::span<const CodeRange>;  ///< increasing

[[nodiscard]] CodeRanges number();       ///< \p{N}
[[nodiscard]] CodeRanges punctuation();  ///< \p{P}
[[nodiscard]] CodeRanges white_space();  ///< \s
[[nodiscard]] CodeRanges word();         ///< \w
[[nodiscard]] CodeRanges han();          ///< \p{Han}
[[nodiscard]] CodeRanges nonstarter();   ///< canonical combining class other than 0, in Unicode 9
/// What a general category (L, Lu, N, ...) has gained from Unicode 14, PCRE2 10.42's, to 16.
[[nodiscard]] CodeRanges new_since_unicode_14(std::string_view category);

[[nodiscard]] inline bool contains(CodeRanges ranges, char32_t code) {
  const auto after = std::upper_bound(ranges.begin(), ranges.end(), code, [](char32_t c, const CodeRange& r) { return c < r.first; });
  return after != ranges.begin() && code <= std::prev(after)->last;
}

}  // namespace pipestill::unicode
