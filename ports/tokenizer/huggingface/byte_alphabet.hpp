#pragma once
// GPT-2's alphabet: one printable character for each byte, so that a vocabulary of bytes is one of texts.
#include <optional>
#include <string>
#include <string_view>

namespace pipestill::huggingface {

/// The character that stands for `byte`: itself where it is printable Latin-1, else the next from U+0100 on.
[[nodiscard]] char32_t byte_character(unsigned char byte);
/// The byte that a character stands for; -1 for one outside the alphabet.
[[nodiscard]] int character_byte(char32_t code);
[[nodiscard]] std::string map_bytes(std::string_view bytes);
/// The bytes that `text` (UTF-8) stands for; nothing if a character is outside the alphabet.
[[nodiscard]] std::optional<std::string> unmap_bytes(std::string_view text);

}  // namespace pipestill::huggingface
