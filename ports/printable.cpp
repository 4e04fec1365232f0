#include "ports/printable.hpp"

#include <spdlog/fmt/fmt.h>

#include <boost/locale/utf.hpp>
#include <optional>

namespace pipestill {
namespace {

/// Takes one character off the front of `rest`; one byte, and nothing returned, where that is no UTF-8.
std::optional<char32_t> take_character(std::string_view& rest) {
  namespace utf = boost::locale::utf;
  const char* next = rest.data();
  const auto code = utf::utf_traits<char>::decode(next, rest.data() + rest.size());
  const bool is_text = code != utf::illegal && code != utf::incomplete;
  rest.remove_prefix(is_text ? static_cast<std::size_t>(next - rest.data()) : 1);
  return is_text ? std::optional<char32_t>(code) : std::nullopt;
}

}  // namespace

std::string printable(std::string_view text, std::size_t longest) {
  std::string shown;
  for (auto rest = text; !rest.empty();) {
    const auto before = rest;
    const auto code = take_character(rest);
    if (text.size() - rest.size() > longest) return shown + "...";
    if (!code) {
      shown += fmt::format("\\x{:02x}", static_cast<unsigned char>(before.front()));
    } else if (*code < 0x20 || (*code >= 0x7f && *code < 0xa0)) {
      shown += fmt::format("\\u{:04x}", static_cast<unsigned>(*code));
    } else {
      shown += before.substr(0, before.size() - rest.size());
    }
  }
  return shown;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    if (!take_character(text)) return false;
  }
  return true;
}

}  // namespace pipestill
