#pragma once
// Tokens that are cut out of a text before anything else looks at it.
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ports/types.hpp"

namespace pipestill::huggingface {

struct AddedToken {
  Token id = 0;
  std::string content;  ///< not empty
  bool single_word = false, lstrip = false, rstrip = false, normalized = false, special = false;
};

/// Finds tokens in texts. Immutable, thread-safe.
class AddedTokenMatcher {
 public:
  struct Entry {
    std::string pattern;  ///< what is looked for: the content, or what the normalizer makes of it
    AddedToken token;
  };
  /// Of equal patterns the first counts; empty ones count for nothing.
  explicit AddedTokenMatcher(std::vector<Entry> entries);

  struct Piece {
    std::string_view text;
    std::optional<Token> token = std::nullopt;
  };
  [[nodiscard]] bool empty() const { return entries_.empty(); }
  /// Cuts `text`, which is UTF-8, at its tokens: the leftmost first, the longest of those that begin together, then their flags. Where a found token is
  /// refused by its flags, or for being special without `is_special_known`, its text is ordinary and not searched again.
  /// Time: characters times the longest pattern at most, and characters alone in texts that hold no beginnings of patterns.
  [[nodiscard]] std::vector<Piece> split(std::string_view text, bool is_special_known) const;

 private:
  [[nodiscard]] const Entry* longest_at(std::string_view text) const;

  std::vector<Entry> entries_;                            ///< by pattern
  std::array<std::uint32_t, 257> first_by_byte_ = {};     ///< entries that begin with byte b: [b] to [b + 1]
};

}  // namespace pipestill::huggingface
