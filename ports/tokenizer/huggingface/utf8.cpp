#include "ports/tokenizer/huggingface/utf8.hpp"

#include <boost/locale/utf.hpp>
#include <cstdint>
#include <cstring>
#include <iterator>

namespace pipestill::utf8 {
namespace {

namespace utf = boost::locale::utf;

/// How many of the bytes belong to one character or to a part that no character begins with; `is_valid` says which.
std::size_t sequence_length(std::string_view bytes, bool& is_valid) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned lead = byte(0);
  is_valid = lead < 0x80;
  if (is_valid) return 1;
  const std::size_t length = lead >= 0xc2 && lead <= 0xdf ? 2 : lead >= 0xe0 && lead <= 0xef ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : 1;
  if (length == 1) return 1;
  // The second byte's range keeps out overlong forms, surrogates and what lies above U+10FFFF.
  unsigned least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  unsigned most = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  for (std::size_t i = 1; i < length; ++i) {
    if (i == bytes.size() || byte(i) < least || byte(i) > most) return i;
    least = 0x80, most = 0xbf;
  }
  is_valid = true;
  return length;
}

}  // namespace

std::size_t valid_prefix(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    std::uint64_t eight;
    if (text.size() - at >= sizeof eight) {
      std::memcpy(&eight, text.data() + at, sizeof eight);
      if ((eight & 0x8080808080808080U) == 0) {
        at += sizeof eight;
        continue;
      }
    }
    bool is_valid;
    const auto length = sequence_length(text.substr(at), is_valid);
    if (!is_valid) return at;
    at += length;
  }
  return text.size();
}

char32_t next(std::string_view text, std::size_t& at) {
  const char* here = text.data() + at;
  const auto code = utf::utf_traits<char>::decode_valid(here);
  at = static_cast<std::size_t>(here - text.data());
  return code;
}

char32_t last(std::string_view text) {
  std::size_t at = text.size() - 1;
  while ((static_cast<unsigned char>(text[at]) & 0xc0U) == 0x80U) --at;
  return next(text, at);
}

void append(std::string& text, char32_t code) { utf::utf_traits<char>::encode(code, std::back_inserter(text)); }

std::string lossy(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    const auto valid = valid_prefix(bytes);
    text.append(bytes.substr(0, valid));
    bytes.remove_prefix(valid);
    if (bytes.empty()) break;
    bool is_valid;
    bytes.remove_prefix(sequence_length(bytes, is_valid));
    text += "\xef\xbf\xbd";
  }
  return text;
}

}  // namespace pipestill::utf8
