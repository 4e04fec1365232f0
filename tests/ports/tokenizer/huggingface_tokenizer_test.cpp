#include "ports/tokenizer/huggingface_tokenizer.hpp"

#include <doctest/doctest.h>
#include <rapidcheck.h>
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <atomic>
#include <cstdlib>
#include <thread>

#include "ports/tokenizer/huggingface/utf8.hpp"
#include "tests/ports/support.hpp"
#include "tests/ports/tokenizer/small_tokenizer.hpp"

using namespace pipestill;
using namespace pipestill::testing;
namespace json = boost::json;

namespace {

using Tokens = std::vector<Token>;

[[maybe_unused]] const int kSameRandomTexts = ::setenv("RC_PARAMS", "seed=20261122 max_success=300", 0);  // read at the first check

json::object with(json::object file, const char* key, const std::string& value) {
  file[key] = json::parse(value);
  return file;
}

/// What a pre-tokenizer makes of a text: every character is a token of its own, but the pieces are kept apart by merges that join all else.
std::vector<std::string> pieces(const std::string& pre_tokenizer, const std::string& text) {
  struct Sink final : huggingface::PieceSink {
    std::vector<std::string> all;
    bool add_piece(std::string_view piece) override {
      all.emplace_back(piece);
      return true;
    }
  } sink;
  const auto parsed = huggingface::PreTokenizer::parse(json::parse(pre_tokenizer), huggingface::JsonPlace("f"));
  REQUIRE_MESSAGE(parsed, parsed.error().message);
  CHECK(parsed->split(text, sink));
  return sink.all;
}
using Pieces = std::vector<std::string>;

std::string split(const std::string& pattern, const std::string& behavior, bool invert = false) {
  return R"({"type":"Split","pattern":)" + pattern + R"(,"behavior":")" + behavior + R"(","invert":)" + (invert ? "true}" : "false}");
}

/// A text of characters of all kinds and lengths; those that merge and separate come often.
rc::Gen<std::string> texts() {
  const auto character = rc::gen::weightedOneOf<char32_t>({
      {6, rc::gen::elementOf(std::u32string(U"theab  \n'sé09.,<>|"))},
      {2, rc::gen::inRange<char32_t>(0, 0x800)},
      {2, rc::gen::inRange<char32_t>(0x800, 0xd800)},
      {1, rc::gen::inRange<char32_t>(0xe000, 0x110000)},
  });
  return rc::gen::map(rc::gen::container<std::u32string>(character), [](const std::u32string& codes) {
    std::string text;
    for (const auto code : codes) utf8::append(text, code);
    return text;
  });
}

}  // namespace

TEST_CASE("tokenizer.json: the pair of lowest rank merges first, of equal ones the leftmost") {
  const auto file = byte_level_file();
  CHECK(ids_of(file, "the") == Tokens{257});
  CHECK(ids_of(file, " the a") == Tokens{258, 265});
  CHECK(ids_of(file, "ababa") == Tokens{259, 261});
  CHECK(ids_of(file, "aaaaa") == Tokens{263, 'a'});
  CHECK(ids_of(file, "é") == Tokens{264});
  CHECK(ids_of(file, "").empty());
  // Short pieces and long ones go different ways: both give what the definition gives.
  const auto plain = tokenizer_of(with(byte_level_file(), "pre_tokenizer", R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":false})"));
  for (const std::size_t length : {1U, 2U, 3U, 7U, 23U, 24U, 47U, 48U, 49U, 50U, 300U}) {
    std::string text;
    for (std::size_t i = 0; i < length; ++i) text += "ab"[(i * i + i / 7) % 5 % 2];
    CAPTURE(text);
    CHECK(plain->encode(text, SpecialText::recognise).value() == merged_slowly(text, kSmallMerges));
    CHECK(plain->encode(text, SpecialText::recognise).value() == merged_slowly(text, kSmallMerges));  // as remembered
  }
}

TEST_CASE("tokenizer.json: merges as pairs, with a version line, and given twice") {
  auto pairs = byte_level_file({});
  auto& model = pairs["model"].as_object();
  model["vocab"].as_object()["th"] = 256;
  model["vocab"].as_object()["t t"] = 257;
  model["merges"] = json::parse(R"([["t","h"]])");
  CHECK(ids_of(pairs, "th") == Tokens{256});
  model["merges"] = json::parse(R"(["#version: 0.2","t h"])");
  CHECK(ids_of(pairs, "th") == Tokens{256});
  // "b c" has rank 0, then 2: behind "a b".
  const auto twice = character_file(R"({"a":0,"b":1,"c":2,"ab":3,"bc":4})", R"(["b c","a b","b c"])");
  CHECK(ids_of(twice, "abc") == Tokens{3, 2});
}

TEST_CASE("tokenizer.json: ignore_merges takes a piece that is a token as it is") {
  auto file = byte_level_file();
  file["model"].as_object()["vocab"].as_object()["hello"] = 266;  // no merges lead there
  CHECK(ids_of(file, "hello") == Tokens{'h', 'e', 'l', 'l', 'o'});
  file["model"].as_object()["ignore_merges"] = true;
  CHECK(ids_of(file, "hello") == Tokens{266});
  CHECK(ids_of(file, "hellos") == Tokens{'h', 'e', 'l', 'l', 'o', 's'});
}

TEST_CASE("tokenizer.json: characters outside the vocabulary") {
  const std::string vocab = R"({"<u>":0,"a":1,"b":2,"ab":3,"<0xC3>":4,"<0xA9>":5,"<0xE6>":6})", merges = R"(["a b"])";
  const auto with_options = [&](const char* options) { return ids_of(character_file(vocab, merges, options), "éxyabé日"); };
  CHECK(with_options("{}") == Tokens{3});
  CHECK(with_options(R"({"unk_token":"<u>"})") == Tokens{0, 0, 0, 3, 0, 0});
  CHECK(with_options(R"({"unk_token":"<u>","fuse_unk":true})") == Tokens{0, 3, 0});
  CHECK(with_options(R"({"byte_fallback":true})") == Tokens{4, 5, 3, 4, 5});
  CHECK(with_options(R"({"unk_token":"<u>","byte_fallback":true,"fuse_unk":true})") == Tokens{4, 5, 0, 3, 4, 5, 0});
  const auto missing = tokenizer_of(character_file(vocab, merges, R"({"unk_token":"<x>"})"));
  CHECK(missing->encode("ab", SpecialText::recognise).value() == Tokens{3});
  CHECK(missing->encode("x", SpecialText::recognise).error().message.find("<x>") != std::string::npos);
}

TEST_CASE("tokenizer.json: prefixes and suffixes of symbols") {
  const auto file = character_file(R"({"a":0,"##b":1,"##c</w>":2,"ab":3,"abc</w>":4,"a</w>":5})", R"(["a ##b","ab ##c</w>"])",
                                   R"({"continuing_subword_prefix":"##","end_of_word_suffix":"</w>"})");
  CHECK(ids_of(file, "abc") == Tokens{4});
  CHECK(ids_of(file, "a") == Tokens{5});
}

TEST_CASE("tokenizer.json: added tokens and their flags") {
  auto file = byte_level_file({});
  add_token(file, "<n>");
  add_token(file, "<L>", {{"lstrip", true}});
  add_token(file, "<R>", {{"rstrip", true}});
  add_token(file, "word", {{"single_word", true}});
  add_token(file, "<sp>", {{"special", true}});
  add_token(file, "<n><n>");
  add_token(file, "");  // ignored
  const auto t = tokenizer_of(file);
  const auto ids = [&](const char* text) { return t->encode(text, SpecialText::recognise).value(); };
  CHECK(t->vocab_size() == 262);
  CHECK(ids("a<n>b") == Tokens{'a', 256, 'b'});
  CHECK(ids("<n><n><n>") == Tokens{261, 256});  // the longest of those that begin together
  CHECK(ids("a \n<L> b") == Tokens{'a', 257, ' ', 'b'});
  CHECK(ids("a <R> \xe3\x80\x80 b") == Tokens{'a', ' ', 258, 'b'});
  CHECK(ids("word sword word2 word-") == Tokens{259, ' ', 's', 'w', 'o', 'r', 'd', ' ', 'w', 'o', 'r', 'd', '2', ' ', 259, '-'});
  CHECK(ids("<sp>") == Tokens{260});
  CHECK(t->encode("<sp><n>", SpecialText::plain_text).value() == Tokens{'<', 's', 'p', '>', 256});
  CHECK(t->special_token("<sp>") == 260);
  CHECK(t->special_token("<n>") == 256);
  CHECK(!t->special_token("a"));
  CHECK(t->decode(Tokens{'a', 260, 256}).value() == "a<sp><n>");
  CHECK(t->decode_without_special(Tokens{'a', 260, 256}).value() == "a<n>");
  std::string spaces(200'000, ' ');
  CHECK(t->encode("<R>" + spaces + "<L>", SpecialText::recognise).value() == Tokens{258, 257});
}

TEST_CASE("tokenizer.json: a normalized token is looked for behind the normalizer") {
  auto file = with(byte_level_file({}), "normalizer", R"({"type":"Lowercase"})");
  add_token(file, "Ab", {{"normalized", true}});
  add_token(file, "Cd", {{"normalized", false}});
  CHECK(ids_of(file, "aBcdCd") == Tokens{256, 'c', 'd', 257});
  CHECK(tokenizer_of(file)->decode(Tokens{256, 257}).value() == "abCd");
}

TEST_CASE("tokenizer.json: normalizers") {
  CHECK(ids_of(with(byte_level_file(), "normalizer", R"({"type":"NFC"})"), "e\xcc\x81") == Tokens{264});
  CHECK(ids_of(with(byte_level_file(), "normalizer", R"({"type":"Sequence","normalizers":[]})"), "E") == Tokens{'E'});
  const auto prepend = with(byte_level_file({}), "normalizer",
                            R"({"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"_"},{"type":"Replace","pattern":{"String":" "},"content":"_"}]})");
  CHECK(ids_of(prepend, "a  b") == Tokens{'_', 'a', '_', '_', 'b'});
  CHECK(ids_of(prepend, "").empty());
  CHECK(ids_of(with(byte_level_file({}), "normalizer", R"({"type":"Replace","pattern":{"Regex":"a+"},"content":"b"})"), "caad") == Tokens{'c', 'b', 'd'});
}

TEST_CASE("tokenizer.json: replacements that feed each other cannot fill the memory") {
  std::string doublings = R"({"type":"Replace","pattern":{"String":"a"},"content":"aa"})";
  for (int i = 0; i < 6; ++i) doublings += "," + doublings;  // 64 of them
  const auto grows_by_string = tokenizer_of(with(byte_level_file({}), "normalizer", R"({"type":"Sequence","normalizers":[)" + doublings + "]}"));
  const auto grown = grows_by_string->encode("xa", SpecialText::recognise);
  REQUIRE(!grown);
  CHECK(grown.error().code == ErrorCode::invalid_input);
  CHECK(grown.error().message == "the replacement of \"a\" makes a text grow above 64 times its length and 4096 bytes");
  CHECK(grows_by_string->encode("xyz", SpecialText::recognise).value() == Tokens{'x', 'y', 'z'});
  const auto by_regex = tokenizer_of(with(byte_level_file({}), "normalizer", R"({"type":"Replace","pattern":{"Regex":"a|"},"content":")" + std::string(5000, 'b') + R"("})"));
  CHECK(by_regex->encode("a", SpecialText::recognise).error().message.find("grow above") != std::string::npos);
  const auto decoder = tokenizer_of(with(byte_level_file({}), "decoder", R"({"type":"Sequence","decoders":[)" + doublings + "]}"));
  CHECK(decoder->decode(Tokens{'x', 'a', 'a'}).error().message.find("grow above") != std::string::npos);
  CHECK(decoder->decode(Tokens{'x', 'y'}).value() == "xy");
}

TEST_CASE("tokenizer.json: pre-tokenizers") {
  const std::string text = "a,,b.c";
  const std::string regex = R"({"Regex":"[.,]"})";
  CHECK(pieces("null", text) == Pieces{text});
  CHECK(pieces(split(regex, "Isolated"), text) == Pieces{"a", ",", ",", "b", ".", "c"});
  CHECK(pieces(split(regex, "Removed"), text) == Pieces{"a", "b", "c"});
  CHECK(pieces(split(regex, "Removed", true), text) == Pieces{",", ",", "."});
  CHECK(pieces(split(regex, "Contiguous"), text) == Pieces{"a", ",,", "b", ".", "c"});
  CHECK(pieces(split(regex, "MergedWithPrevious"), text) == Pieces{"a,", ",", "b.", "c"});
  CHECK(pieces(split(regex, "MergedWithPrevious"), ",a") == Pieces{",", "a"});
  CHECK(pieces(split(regex, "MergedWithNext"), text) == Pieces{"a", ",", ",b", ".c"});
  CHECK(pieces(split(regex, "MergedWithNext"), "a,") == Pieces{"a", ","});
  CHECK(pieces(split(R"({"String":"."})", "Isolated"), "a.b") == Pieces{"a", ".", "b"});
  CHECK(pieces(split(R"({"String":""})", "Isolated"), "ab") == Pieces{"ab"});
  CHECK(pieces(split(R"x({"Regex":"(?=b)"})x", "Isolated"), "abab") == Pieces{"a", "ba", "b"});
  CHECK(pieces(R"({"type":"Digits","individual_digits":true})", "a12½") == Pieces{"a", "1", "2", "½"});
  CHECK(pieces(R"({"type":"Digits"})", "a12½b") == Pieces{"a", "12½", "b"});
  CHECK(pieces(R"({"type":"Punctuation"})", "a+。b") == Pieces{"a", "+", "。", "b"});
  CHECK(pieces(R"({"type":"Punctuation","behavior":"Contiguous"})", "a+。b") == Pieces{"a", "+。", "b"});
  CHECK(pieces(R"({"type":"ByteLevel","add_prefix_space":true})", "a b") == Pieces{" a", " b"});
  CHECK(pieces(R"({"type":"ByteLevel","add_prefix_space":true})", " a") == Pieces{" a"});
  CHECK(pieces(R"({"type":"ByteLevel","add_prefix_space":false})", "I'll go  on 12") == Pieces{"I", "'ll", " go", " ", " on", " 12"});
  // What follows ByteLevel sees its alphabet, in which the second byte of "r\xc2\xb2" is a number: ².
  CHECK(pieces(R"({"type":"Sequence","pretokenizers":[{"type":"ByteLevel","add_prefix_space":false,"use_regex":false},{"type":"Digits"}]})", "r²") ==
        Pieces{"r\xc2", "\xb2"});
}

TEST_CASE("tokenizer.json: decoders") {
  auto file = byte_level_file({});
  add_token(file, "<é>");
  add_token(file, "日");
  const auto t = tokenizer_of(file);
  CHECK(t->decode(Tokens{0xe6, 0x97, 0xa5, 'a', 0xe6, 0x97}).value() == "日a\xef\xbf\xbd");
  CHECK(t->decode(Tokens{257, -1, 99999, 'a'}).value() == "日a");  // ids that no token has are left out
  CHECK(t->decode(Tokens{256}).value() == "<\xef\xbf\xbd>");      // Latin-1 letters stand for bytes
  const auto llama = [](const char* decoder) {
    return tokenizer_of(with(character_file(R"({"▁a":0,"b":1,"<0xE6>":2,"<0x97>":3,"<0xA5>":4,"▁":5})", "[]"), "decoder", decoder));
  };
  const auto full = llama(R"({"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},
    {"type":"Strip","content":" ","start":1,"stop":0}]})");
  CHECK(full->decode(Tokens{0, 5, 1}).value() == "a b");
  CHECK(full->decode(Tokens{2, 3, 4, 1, 2, 3, 1}).value() == "日b\xef\xbf\xbd\xef\xbf\xbd" "b");
  CHECK(llama(R"({"type":"Strip","content":"▁","start":0,"stop":1})")->decode(Tokens{0, 5, 1}).value() == "▁ab");
  CHECK(llama("null")->decode(Tokens{0, 1}).value() == "▁a b");
}

TEST_CASE("tokenizer.json: the post-processor's tokens come where they are asked for") {
  auto file = byte_level_file({});
  add_token(file, "<bos>", {{"special", true}});
  add_token(file, "<eos>", {{"special", true}});
  file["post_processor"] = json::parse(R"({"type":"Sequence","processors":[{"type":"ByteLevel"},{"type":"TemplateProcessing",
    "single":[{"SpecialToken":{"id":"B","type_id":0}},{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"E","type_id":0}}],"pair":[],
    "special_tokens":{"B":{"id":"B","ids":[256],"tokens":["<bos>"]},"E":{"id":"E","ids":[257,257],"tokens":["<eos>"]}}}]})");
  const auto t = tokenizer_of(file);
  CHECK(t->encode("a", SpecialText::recognise).value() == Tokens{'a'});
  CHECK(t->encode_with_special_tokens("a", SpecialText::recognise).value() == Tokens{256, 'a', 257, 257});
  file["post_processor"] = json::parse(R"({"type":"RobertaProcessing","sep":["<eos>",257],"cls":["<bos>",256]})");
  CHECK(tokenizer_of(file)->encode_with_special_tokens("", SpecialText::recognise).value() == Tokens{256, 257});
}

TEST_CASE("tokenizer.json: text that is not UTF-8 is refused") {
  const auto t = tokenizer_of(byte_level_file());
  for (const char* wrong : {"ab\xff", "ab\xc3", "ab\xed\xa0\x80", "ab\xc0\xaf"}) {
    CAPTURE(wrong);
    const auto tokens = t->encode(wrong, SpecialText::recognise);
    REQUIRE(!tokens);
    CHECK(tokens.error().code == ErrorCode::invalid_input);
    CHECK(tokens.error().message == "text to be encoded is not UTF-8 at byte 3");
  }
}

TEST_CASE("tokenizer.json: a text of bytes decodes to itself, whatever it is") {
  auto file = byte_level_file();
  add_token(file, "<|>", {{"special", true}});
  const auto t = tokenizer_of(file);
  const auto is_kept = [&](SpecialText special) {
    return [&t, special] {
      const auto text = *texts();
      RC_ASSERT(t->decode(t->encode(text, special).value()).value() == text);
    };
  };
  CHECK(rc::check("with special tokens", is_kept(SpecialText::recognise)));
  CHECK(rc::check("as plain text", is_kept(SpecialText::plain_text)));
}

TEST_CASE("tokenizer.json: merges are those of the definition for any text") {
  const auto t = tokenizer_of(with(byte_level_file(), "pre_tokenizer", R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":false})"));
  CHECK(rc::check("against the definition", [&] {
    const auto text = *texts();
    RC_ASSERT(t->encode(text, SpecialText::recognise).value() == merged_slowly(text, kSmallMerges));
  }));
}

namespace {

/// A vocabulary of characters, as SentencePiece's converted ones: what is not in it becomes bytes, an unknown token or nothing.
struct WordFile {
  Merges merges;
  std::string unk_token = "<unk>";  ///< empty: none
  bool fuse_unk = false, has_bytes = false;

  static inline const std::vector<std::string> kCharacters{"▁", "a", "b", "c"};

  std::vector<std::string> vocabulary() const {
    auto all = kCharacters;
    if (!unk_token.empty()) all.push_back(unk_token);
    if (has_bytes) {
      for (const unsigned byte : {0xe2U, 0x96U, 0x82U, 0x7aU}) all.push_back(fmt::format("<0x{:02X}>", byte));  // of "▂" and "z"
    }
    for (const auto& [left, right] : merges) {
      if (std::find(all.begin(), all.end(), left + right) == all.end()) all.push_back(left + right);
    }
    return all;
  }
  json::object file() const {
    json::object vocab;
    for (const auto& text : vocabulary()) vocab.emplace(text, vocab.size());
    json::array list;
    for (const auto& [left, right] : merges) list.emplace_back(json::array{json::value(left), json::value(right)});
    json::object model{{"vocab", std::move(vocab)}, {"merges", std::move(list)}, {"byte_fallback", has_bytes}, {"fuse_unk", fuse_unk}};
    if (!unk_token.empty()) model["unk_token"] = unk_token;
    return {{"model", std::move(model)}};
  }
  std::vector<std::string> symbols_of(const std::u32string& text) const {
    std::vector<std::string> symbols;
    bool is_unknown_waiting = false;  // until a character of the vocabulary, as in the reference: bytes go before it
    for (const auto code : text) {
      std::string character;
      utf8::append(character, code);
      const bool is_known = std::find(kCharacters.begin(), kCharacters.end(), character) != kCharacters.end();
      if (!is_known && has_bytes && (code == U'▂' || code == U'z')) {
        for (const char byte : character) symbols.push_back(fmt::format("<0x{:02X}>", static_cast<unsigned char>(byte)));
        continue;
      }
      if (is_unknown_waiting && (is_known || !fuse_unk)) symbols.push_back(unk_token);
      is_unknown_waiting = !is_known && !unk_token.empty();
      if (is_known) symbols.push_back(character);
    }
    if (is_unknown_waiting) symbols.push_back(unk_token);
    return symbols;
  }
  Tokens tokens_of(const std::u32string& text) const {
    const auto all = vocabulary();
    Tokens tokens;
    for (const auto& symbol : merged_by_definition(symbols_of(text), merges)) tokens.push_back(static_cast<Token>(std::find(all.begin(), all.end(), symbol) - all.begin()));
    return tokens;
  }
};

}  // namespace

TEST_CASE("tokenizer.json: words that are merged apart give what the whole text gives, whatever the merges join") {
  CHECK(rc::check("against the definition", [] {
    WordFile words;
    words.unk_token = *rc::gen::elementOf(std::vector<std::string>{"<unk>", "", "u▁"});
    words.fuse_unk = *rc::gen::arbitrary<bool>();
    words.has_bytes = *rc::gen::arbitrary<bool>();
    const bool has_words = *rc::gen::arbitrary<bool>();  // else merges may join a word to the one before it
    for (auto count = *rc::gen::inRange(0, 12); count > 0; --count) {
      const auto all = words.vocabulary();
      const auto merge = std::pair(*rc::gen::elementOf(all), *rc::gen::elementOf(all));
      const bool crosses = merge.second.starts_with("▁") && !merge.first.ends_with("▁");
      if ((has_words && crosses) || std::find(words.merges.begin(), words.merges.end(), merge) != words.merges.end()) continue;
      words.merges.push_back(merge);
    }
    const auto text = *rc::gen::container<std::u32string>(rc::gen::elementOf(std::u32string(U"▁▁▁aabcéz▂")));
    std::string utf8_text;
    for (const auto code : text) utf8::append(utf8_text, code);
    RC_ASSERT(ids_of(words.file(), utf8_text) == words.tokens_of(text));
  }));
}

// Builds without optimisation (the sanitizers') take one: ten last minutes on a slow machine under ThreadSanitizer.
#ifdef __OPTIMIZE__
constexpr size_t kMegabytesOfOneLetter = 10;
#else
constexpr size_t kMegabytesOfOneLetter = 1;
#endif

TEST_CASE("tokenizer.json: megabytes of one letter are one piece that merges") {
  constexpr size_t kLetters = kMegabytesOfOneLetter * 1'000'000;
  const auto t = tokenizer_of(byte_level_file());
  const auto tokens = t->encode(std::string(kLetters, 'a'), SpecialText::recognise);
  REQUIRE(tokens);
  CHECK(tokens->size() == kLetters / 4);
  CHECK(std::count(tokens->begin(), tokens->end(), 263) == static_cast<std::ptrdiff_t>(kLetters / 4));
}

TEST_CASE("tokenizer.json: NFC orders megabytes of marks, and not in hours") {
  const std::string below = "\xcc\xa3", above = "\xcc\x81", tibetan = "\xe0\xbd\xb3";  // classes 220 and 230; the last one is of classes 129 and 130
  const auto times = [](const std::string& mark, std::size_t count) {
    std::string text;
    while (count-- > 0) text += mark;
    return text;
  };
  constexpr std::size_t kMarks = 300'000;
  CHECK(huggingface::normalize_nfc("e" + times(below + above, kMarks)) == "\xe1\xba\xb9" + times(below, kMarks - 1) + times(above, kMarks));
  CHECK(huggingface::normalize_nfc("e" + times(tibetan, kMarks)) == "e" + times("\xe0\xbd\xb1", kMarks) + times("\xe0\xbd\xb2", kMarks));
}

TEST_CASE("tokenizer.json: threads share one, and one thread uses several") {
  const auto t = tokenizer_of(byte_level_file()), other = tokenizer_of(byte_level_file({}));
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 500; ++k) {
        if (t->encode("the aaaa" + std::to_string(k % 7), SpecialText::recognise).value().front() != 257) ++wrong;
        if (other->encode("the", SpecialText::recognise).value() != Tokens{'t', 'h', 'e'}) ++wrong;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
}
