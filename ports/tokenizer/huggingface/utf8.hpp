#pragma once
// UTF-8, as far as tokenizers need it.
#include <cstddef>
#include <string>
#include <string_view>

namespace pipestill::utf8 {

/// The bytes at the beginning that are UTF-8; all of them where the text is valid.
[[nodiscard]] std::size_t valid_prefix(std::string_view text);
/// The character at `text[at]`, and `at` behind it. `text` is valid and `at` a character's first byte.
char32_t next(std::string_view text, std::size_t& at);
/// The character that ends where `text` does, which is valid and not empty.
[[nodiscard]] char32_t last(std::string_view text);
void append(std::string& text, char32_t code);
/// Bytes as text: every maximal part that cannot begin a character becomes one U+FFFD (Unicode 16, section 3.9, table 3-8).
[[nodiscard]] std::string lossy(std::string_view bytes);

}  // namespace pipestill::utf8
