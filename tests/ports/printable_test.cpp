#include "ports/printable.hpp"

#include <doctest/doctest.h>

#include <string>

using pipestill::is_utf8;
using pipestill::printable;

TEST_CASE("text that harms nobody is shown as it is") {
  CHECK(printable("") == "");
  CHECK(printable("a \"b\" \\ \u00e4\u6f22\U0001f600") == "a \"b\" \\ \u00e4\u6f22\U0001f600");
  CHECK(printable("\u00a0") == "\u00a0");  // the first behind C1
}

TEST_CASE("line ends, terminal commands and stray bytes are spelled out") {
  using namespace std::string_view_literals;
  CHECK(printable("a\nb\tc\r") == "a\\u000ab\\u0009c\\u000d");
  CHECK(printable("\x1b[2J\x7f\0"sv) == "\\u001b[2J\\u007f\\u0000");
  CHECK(printable("\u0080\u009b\u009f") == "\\u0080\\u009b\\u009f");
  CHECK(printable("a\xff\xc3") == "a\\xff\\xc3");
  CHECK(printable("\xc0\xaf\xed\xa0\x80") == "\\xc0\\xaf\\xed\\xa0\\x80");  // overlong, and half of a surrogate pair
}

TEST_CASE("long text is cut, never through a character") {
  CHECK(printable("abcdef", 6) == "abcdef");
  CHECK(printable("abcdefg", 6) == "abcdef...");
  CHECK(printable("abcd\u00e4f", 5) == "abcd...");
  CHECK(printable("abcd\u00e4f", 6) == "abcd\u00e4...");
  CHECK(printable(std::string(61, 'x')) == std::string(60, 'x') + "...");
}

TEST_CASE("UTF-8 is what RFC 3629 says it is") {
  CHECK(is_utf8(""));
  CHECK(is_utf8("a\n\u0080\u00e4\u6f22\U0010ffff"));
  for (const char* wrong : {"\xff", "a\xc3", "\xed\xa0\x80", "\xc0\xaf", "\xf4\x90\x80\x80"}) CHECK_FALSE(is_utf8(wrong));
}
