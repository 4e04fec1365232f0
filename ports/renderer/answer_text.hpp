#pragma once
// Reading answers: what their text says of thinking and of tool calls, with Python's notion of white space.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ports/types.hpp"

namespace pipestill {

/// str.strip() of Python: Unicode white space at both ends.
[[nodiscard]] std::string_view python_strip(std::string_view text);
[[nodiscard]] std::string_view python_lstrip(std::string_view text);
[[nodiscard]] std::string_view python_rstrip(std::string_view text);
/// str.strip("\n") and str.lstrip("\n").
[[nodiscard]] std::string_view strip_newlines(std::string_view text);
[[nodiscard]] std::string_view lstrip_newlines(std::string_view text);

/// What stands between an opening and the next closing text behind it.
struct TextBlock {
  std::size_t begin = 0, end = 0;  ///< of the whole, both marks included
  std::string_view body = {};
};
/// The first one at or behind `from`: the regular expression `open(.*?)close`, with . for every character.
[[nodiscard]] std::optional<TextBlock> find_block(std::string_view text, std::string_view open, std::string_view close,
                                                  std::size_t from = 0);

/// find_block() from 0 and then from ever further on; it does not search again for what it found, or did not find, before.
class BlockFinder {
 public:
  BlockFinder(std::string_view text, std::string_view open, std::string_view close) : text_(text), open_(open), close_(close) {}
  [[nodiscard]] std::optional<TextBlock> next(std::size_t from) {
    if (from == 0 || (found_ && found_->begin < from)) found_ = find_block(text_, open_, close_, from);
    return found_;
  }

 private:
  std::string_view text_, open_, close_;
  std::optional<TextBlock> found_ = std::nullopt;
};

inline constexpr std::string_view kThinkOpen = "<think>", kThinkClose = "</think>";

/// Think blocks become parts, whitespace and all; what is empty is left out. A text without `<think>` stays a text. An opening that
/// nothing closes is text.
[[nodiscard]] MessageContent with_think_blocks(std::string_view text);
/// The text without its think blocks.
[[nodiscard]] std::string without_think_blocks(std::string_view text);

}  // namespace pipestill
