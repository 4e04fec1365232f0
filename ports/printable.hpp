#pragma once
// Other people's text inside our error messages.
#include <cstddef>
#include <string>
#include <string_view>

namespace pipestill {

/// `text` as an error message shows it: on one line, and nothing that a terminal takes for a command. Control characters (C0, DEL, C1) become
/// \u001b, bytes that are no UTF-8 \xff. What is longer than `longest` bytes is cut there, never through a character, and ends with "...".
[[nodiscard]] std::string printable(std::string_view text, std::size_t longest = 60);

[[nodiscard]] bool is_utf8(std::string_view text);

}  // namespace pipestill
