#include "ports/tokenizer/huggingface/regex.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "ports/tokenizer/huggingface/normalizer.hpp"
#include "ports/tokenizer/huggingface/utf8.hpp"

using namespace pipestill;
using huggingface::Regex;

namespace {

std::vector<std::string> matches(const std::string& pattern, const std::string& text) {
  const auto regex = Regex::compile(pattern);
  REQUIRE_MESSAGE(regex, regex.error().message);
  std::vector<std::string> found;
  CHECK(huggingface::for_each_match(**regex, text, [&](std::size_t begin, std::size_t end) {
    found.push_back(text.substr(begin, end - begin));
    return true;
  }));
  return found;
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("regex: classes are those of Unicode 16, whatever PCRE2 knows") {
  CHECK(matches(R"(\p{L}+)", "aé\xea\x9f\x8b!") == Texts{"aé\xea\x9f\x8b"});           // U+A7CB, a letter since Unicode 16
  CHECK(matches(R"([^\p{L}]+)", "\xea\x9f\x8b!") == Texts{"!"});
  CHECK(matches(R"(\P{L}+)", "\xea\x9f\x8b!") == Texts{"!"});
  CHECK(matches(R"([\P{L}b]+)", "\xea\x9f\x8b!ab") == Texts{"!", "b"});
  CHECK(matches(R"([^\P{L}b]+)", "\xea\x9f\x8b!ab") == Texts{"\xea\x9f\x8b", "a"});
  CHECK(matches(R"(\p{Lu})", "A\xea\x9f\x8b" "a") == Texts{"A", "\xea\x9f\x8b"});
  CHECK(matches(R"(\d+)", "12\xf0\x90\xb5\x80½") == Texts{"12\xf0\x90\xb5\x80"});      // U+10D40, a digit since Unicode 16
  CHECK(matches(R"(\p{N}+)", "1½") == Texts{"1½"});
  CHECK(matches(R"(\p{Han}+)", "日本ご") == Texts{"日本"});
}

TEST_CASE("regex: white space and word characters are Oniguruma's") {
  CHECK(matches(R"(\s)", "a\xe1\xa0\x8e\x1c b").size() == 1);  // neither U+180E nor U+001C
  CHECK(matches(R"(\S+)", "a\xe1\xa0\x8e b") == Texts{"a\xe1\xa0\x8e", "b"});
  CHECK(matches(R"([\s]+)", "a \xc2\x85\xe3\x80\x80" "b") == Texts{" \xc2\x85\xe3\x80\x80"});
  CHECK(matches(R"(\w+)", "a_1\xcc\x81-b") == Texts{"a_1\xcc\x81", "b"});  // a mark is one too
  CHECK(matches(R"(\ba)", "a ba-a") == Texts{"a", "a"});
}

TEST_CASE("regex: repetitions, lines and options are read as in Ruby") {
  CHECK(matches(R"(\d{1,3}+)", "12345678") == Texts{"12345678"});  // not possessive: a repeated repetition
  CHECK(matches(R"(\d{1,3})", "12345678") == Texts{"123", "456", "78"});
  CHECK(matches(R"((?:ab){2}?c)", "c") == Texts{"c"});
  CHECK(matches(R"(a{,2}b)", "aaab") == Texts{"aab"});
  CHECK(matches(R"(a{b)", "a{b") == Texts{"a{b"});
  CHECK(matches(R"(^b$)", "a\nb\nc") == Texts{"b"});
  CHECK(matches(R"((?m:a.b)|c.d)", "a\nbc\nd") == Texts{"a\nb"});
  CHECK(matches(R"((?i:'s)|[ab\-]+)", "'S'\xc5\xbf" "a-b") == Texts{"'S", "'\xc5\xbf", "a-b"});
  CHECK(matches(R"(\h+)", "xfF0 ") == Texts{"fF0"});
  CHECK(matches(R"((?=b))", "abb").size() == 2);  // empty matches
}

TEST_CASE("regex: what means something else here is refused, and so is what is no pattern") {
  for (const char* wrong : {"(", ")", "[a", "[]", "[a[b]]", R"([a&&b])", R"(\G)", R"(\K)", R"(\p{Foo})", R"(\pL)", R"(a(?i)b)", R"((?R))", "{2}", "*a", "\\", R"(\x80)", "(?#a", "(?{x})"}) {
    CAPTURE(wrong);
    const auto regex = Regex::compile(wrong);
    REQUIRE(!regex);
    CHECK(regex.error().code == ErrorCode::invalid_input);
    CHECK(!regex.error().message.empty());
  }
}

TEST_CASE("regex: a pattern that would never end gives up") {
  const auto regex = Regex::compile("(?:a|aa)+[bc]").value();
  std::size_t begin = 0, end = 0;
  CHECK(regex->find(std::string(200, 'a'), 0, begin, end) == Regex::Search::gave_up);
}

TEST_CASE("UTF-8: invalid bytes become U+FFFD by maximal parts") {
  const std::string bad = "\xef\xbf\xbd";
  CHECK(utf8::lossy("a\xff" "b") == "a" + bad + "b");
  CHECK(utf8::lossy("\xe6\x97") == bad);                                         // cut
  CHECK(utf8::lossy("\xf0\x9f\x98" "a\xe6\x97\xa5") == bad + "a日");
  CHECK(utf8::lossy("\xed\xa0\x80") == bad + bad + bad);                         // a surrogate
  CHECK(utf8::lossy("\xc0\xaf\xf4\x90\x80\x80") == bad + bad + bad + bad + bad + bad);  // overlong; above U+10FFFF
  for (const char* wrong : {"abcdefgh\xff", "abcdefgh\xc3", "abcdefgh\xed\xa0\x80", "abcdefgh\xf4\x90\x80\x80"}) CHECK(utf8::valid_prefix(wrong) == 8);
  CHECK(utf8::valid_prefix("abcdefghé日😀") == 17);
}

TEST_CASE("NFC is that of Unicode 9") {
  using huggingface::normalize_nfc;
  CHECK(normalize_nfc("abc") == "abc");
  CHECK(normalize_nfc("e\xcc\x81x") == "éx");
  CHECK(normalize_nfc("日e\xcc\x81") == "日é");
  CHECK(normalize_nfc("\xcc\x81") == "\xcc\x81");
  CHECK(normalize_nfc("か\xe3\x82\x99") == "が");
  CHECK(normalize_nfc("\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8") == "각");
  CHECK(normalize_nfc("가\xe1\x86\xa8") == "각");
  CHECK(normalize_nfc("q\xcc\x87\xcc\xa3") == "q\xcc\xa3\xcc\x87");                      // reordered
  CHECK(normalize_nfc("\xe2\x84\xab") == "Å");
  CHECK(normalize_nfc("q\xcc\x87\xe0\xa3\x93") == "q\xcc\x87\xe0\xa3\x93");              // U+08D3 is of Unicode 11: stays
  CHECK(normalize_nfc("\xf0\x91\xa4\xb5\xf0\x91\xa4\xb0") == "\xf0\x91\xa4\xb5\xf0\x91\xa4\xb0");  // U+11935 U+11930, of Unicode 13
  CHECK(huggingface::lower_case("ÀÉΣİ") == "àéσi\xcc\x87");
}
