#include "ports/tokenizer/tokenizer.hpp"

#include <doctest/doctest.h>

#include "ports/tokenizer/bytes_tokenizer.hpp"
#include "ports/tokenizer/chars_tokenizer.hpp"
#include "tests/ports/support.hpp"

using namespace pipestill;
using testing::TempDir;

namespace {

using Tokens = std::vector<Token>;

const std::string kChars =
    R"({"type":"chars","special_tokens":["<|pad|>","<|system|>","<|user|>","<|assistant|>","<|end|>"],"eos_token":"<|end|>","characters":" abcé日"})";

std::shared_ptr<const CharsTokenizer> chars() { return CharsTokenizer::parse(kChars, "chars.json").value(); }

std::string parse_error(const std::string& json) {
  const auto parsed = CharsTokenizer::parse(json, "v/chars.json");
  REQUIRE(!parsed);
  CHECK(parsed.error().code == ErrorCode::invalid_input);
  return parsed.error().message;
}

}  // namespace

TEST_CASE("bytes: every text goes there and back, special tokens only where asked for") {
  const BytesTokenizer bytes;
  CHECK(bytes.vocab_size() == 261);
  CHECK(bytes.eos() == 260);
  CHECK(!bytes.bos());
  CHECK(bytes.special_token("<|pad|>") == 256);
  CHECK(bytes.special_token("<|user|>") == 258);
  CHECK(!bytes.special_token("<|tool|>"));
  CHECK(bytes.encode("hé", SpecialText::plain_text).value() == Tokens{'h', 0xc3, 0xa9});
  CHECK(bytes.encode("a<|end|><|user|>b", SpecialText::recognise).value() == Tokens{'a', 260, 258, 'b'});
  CHECK(bytes.encode("<|end|>", SpecialText::plain_text).value().size() == 7);
  CHECK(bytes.encode("", SpecialText::recognise).value().empty());
  std::string all;
  for (int c = 0; c < 256; ++c) all.push_back(static_cast<char>(c));
  CHECK(bytes.decode(bytes.encode(all, SpecialText::recognise).value()).value() == all);
  CHECK(bytes.decode(Tokens{'x', 260}).value() == "x<|end|>");
  for (const Token wrong : {-1, 261}) {
    const auto text = bytes.decode(Tokens{wrong});
    REQUIRE(!text);
    CHECK(text.error().message.find("token " + std::to_string(wrong)) != std::string::npos);
  }
}

TEST_CASE("chars: ids are the special tokens in their order, then the characters in theirs") {
  const auto t = chars();
  CHECK(t->vocab_size() == 11);
  CHECK(t->eos() == 4);
  CHECK(t->encode("a é日", SpecialText::plain_text).value() == Tokens{6, 5, 9, 10});
  CHECK(t->encode("<|user|>a<|end|>", SpecialText::recognise).value() == Tokens{2, 6, 4});
  CHECK(t->decode(Tokens{2, 9, 10, 4}).value() == "<|user|>é日<|end|>");
  CHECK(!t->decode(Tokens{11}));
  CHECK(!t->decode(Tokens{-1}));
}

TEST_CASE("chars: what the vocabulary cannot express is named") {
  const auto t = chars();
  CHECK(t->encode("abx", SpecialText::plain_text).error().message == "the vocabulary has no character 'x' (U+0078)");
  CHECK(t->encode("a本", SpecialText::plain_text).error().message == "the vocabulary has no character '本' (U+672C)");
  CHECK(t->encode("a\n", SpecialText::plain_text).error().message == "the vocabulary has no character U+000A");
  CHECK(t->encode("a<|end|>", SpecialText::plain_text).error().message == "the vocabulary has no character '<' (U+003C)");
  for (const char* wrong : {"ab\xff", "ab\xc3", "ab\xed\xa0\x80", "ab\xc0\xaf"}) {  // a stray byte, a cut one, a surrogate, an overlong one
    CAPTURE(wrong);
    CHECK(t->encode(wrong, SpecialText::plain_text).error().message == "text to be encoded is not UTF-8 at byte 3");
  }
}

TEST_CASE("chars: the file is read strictly, and errors name file and key") {
  const auto with = [](const std::string& specials, const std::string& eos, const std::string& characters) {
    return R"({"type":"chars","special_tokens":)" + specials + R"(,"eos_token":)" + eos + R"(,"characters":)" + characters + "}";
  };
  CHECK(CharsTokenizer::parse(with(R"(["<e>"])", R"("<e>")", R"("a")"), "x"));
  CHECK(parse_error("[]") == "v/chars.json: expected a JSON object");
  CHECK(parse_error(R"({"type":"chars","type":"chars"})") == "v/chars.json:1:22: the key type is given twice; keep one of the two");
  CHECK(parse_error(R"({"a\u009b":1})").find(R"(unknown key "a\u009b")") != std::string::npos);
  CHECK(parse_error("{") == "v/chars.json:1:2: the JSON text ends too early; a value, bracket or quote is not closed");
  CHECK(parse_error(R"({"type":"chars"})") == "v/chars.json: the key \"special_tokens\" is missing");
  CHECK(parse_error(R"({"type":"chars","bos":1})") ==
        "v/chars.json: unknown key \"bos\"; accepted: type, special_tokens, eos_token, characters");
  CHECK(parse_error(with(R"("<e>")", R"("<e>")", R"("a")")) == "v/chars.json: special_tokens must be a list of strings");
  CHECK(parse_error(with(R"(["<e>",""])", R"("<e>")", R"("a")")) == "v/chars.json: special_tokens[1] must be a string that is not empty");
  CHECK(parse_error(with(R"(["<e>","<e>"])", R"("<e>")", R"("a")")) == "v/chars.json: special_tokens has \"<e>\" twice");
  CHECK(parse_error(with(R"(["<e>"])", R"("<x>")", R"("a")")) == "v/chars.json: eos_token must be one of special_tokens");
  CHECK(parse_error(with(R"(["<e>"])", R"("<e>")", R"("")")) == "v/chars.json: characters must be a string that is not empty");
  CHECK(parse_error(with(R"(["<e>"])", R"("<e>")", R"("abéaé")")) == "v/chars.json: characters has 'a' (U+0061) twice");
}

TEST_CASE("the longest special token wins where several begin") {
  const auto t =
      CharsTokenizer::parse(R"({"type":"chars","special_tokens":["<a","<a>","<end>"],"eos_token":"<end>","characters":"<a>"})", "x")
          .value();
  CHECK(t->encode("<<a><a", SpecialText::recognise).value() == Tokens{3, 1, 0});
}

TEST_CASE("a tokenizer that was saved loads as the same one") {
  const TempDir bytes_dir, chars_dir;
  REQUIRE(BytesTokenizer().save(bytes_dir.path()));
  REQUIRE(chars()->save(chars_dir.path()));
  const auto bytes = Tokenizer::load(bytes_dir.path().string()).value();
  const auto loaded = Tokenizer::load(chars_dir.path().string()).value();
  CHECK(bytes->fingerprint() == Tokenizer::load("bytes").value()->fingerprint());
  CHECK(loaded->fingerprint() == chars()->fingerprint());
  CHECK(loaded->fingerprint() != bytes->fingerprint());
  CHECK(loaded->encode("é日", SpecialText::plain_text).value() == Tokens{9, 10});
  CHECK(Tokenizer::load((chars_dir.path() / "chars.json").string()).value()->fingerprint() == loaded->fingerprint());
  CHECK(testing::read_file(bytes_dir.path() / "bytes.json") == "{\"type\":\"bytes\"}\n");
  CHECK(!chars()->save(chars_dir.path() / "none"));
}

TEST_CASE("a tokenizer that is not there is refused by name, with what would be accepted") {
  const TempDir dir;
  for (const std::string& wrong : {std::string("byte"), dir.path().string(), (dir.path() / "chars.json").string()}) {
    CAPTURE(wrong);
    const auto loaded = Tokenizer::load(wrong);
    REQUIRE(!loaded);
    CHECK(loaded.error().code == ErrorCode::invalid_input);
    CHECK(loaded.error().message.find(wrong) != std::string::npos);
    CHECK(loaded.error().message.find("\"bytes\"") != std::string::npos);
  }
  CHECK(!Tokenizer::load(dir.write("vocabulary.json", R"({"version":"1.0"})").string()));
  dir.write("chars.json", kChars);
  dir.write("bytes.json", R"({"type":"bytes"})");
  CHECK(Tokenizer::load(dir.path().string()).error().message.find("both") != std::string::npos);
}

TEST_CASE("fingerprints differ where a vocabulary does") {
  const auto print = [](const std::string& json) { return CharsTokenizer::parse(json, "x").value()->fingerprint(); };
  const std::string a = R"({"type":"chars","special_tokens":["<p>","<e>"],"eos_token":"<e>","characters":"ab"})";
  CHECK(print(a) == print(R"({"characters":"ab","eos_token":"<e>","special_tokens":["<p>","<e>"],"type":"chars"})"));
  CHECK(print(a) != print(R"({"type":"chars","special_tokens":["<p>","<e>"],"eos_token":"<p>","characters":"ab"})"));
  CHECK(print(a) != print(R"({"type":"chars","special_tokens":["<p>","<e>"],"eos_token":"<e>","characters":"ba"})"));
  CHECK(print(a) != print(R"({"type":"chars","special_tokens":["<e>","<p>"],"eos_token":"<e>","characters":"ab"})"));
}
