// Text that is encoded. Small vocabularies with the features of those in use; whatever the input is, it is a text and a list of tokens.
#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ports/printable.hpp"
#include "ports/tokenizer/huggingface/normalizer.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/ports/tokenizer/small_tokenizer.hpp"

namespace {

using namespace pipestill;
using pipestill::fuzz::require;
namespace json = boost::json;

using Vocabulary = std::shared_ptr<const HuggingFaceTokenizer>;

json::object splitting(const std::string& pattern) {
  auto file = testing::byte_level_file();
  file["pre_tokenizer"] = json::object{
      {"type", "Sequence"},
      {"pretokenizers",
       json::array{json::object{{"type", "Split"}, {"pattern", json::object{{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}},
                   json::object{{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}}}}};
  return file;
}

/// Every special token is flagged so: a text taken as plain has none of them.
Vocabulary with_specials(json::object file) {
  for (const char* content : {"<|im_start|>", "<|im_end|>", "<|im", "\xef\xbd\x9c"}) testing::add_token(file, content, {{"special", true}, {"normalized", false}});
  return testing::tokenizer_of(file);
}

std::string contractions_and_words(const char* numbers) {
  return R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)" + std::string(numbers) + R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
}

/// Words as in GPT-2: ByteLevel's own expression.
const Vocabulary& gpt2_like() {
  static const auto made = with_specials(testing::byte_level_file());
  return made;
}

/// Numbers of up to three digits, and pieces that are tokens taken as they are.
const Vocabulary& llama3_like() {
  static const auto made = [] {
    auto file = splitting(contractions_and_words(R"(\p{N}{1,3})"));
    file["model"].as_object()["ignore_merges"] = true;
    return with_specials(std::move(file));
  }();
  return made;
}

/// Single digits, behind NFC.
const Vocabulary& qwen_like() {
  static const auto made = [] {
    auto file = splitting(contractions_and_words(R"(\p{N})"));
    file["normalizer"] = json::object{{"type", "NFC"}};
    return with_specials(std::move(file));
  }();
  return made;
}

/// No pieces at all: what merges do alone.
const Vocabulary& one_piece() {
  static const auto made = [] {
    auto file = testing::byte_level_file();
    file["pre_tokenizer"] = json::object{{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
    return testing::tokenizer_of(file);
  }();
  return made;
}

/// Characters, words begun by U+2581, and bytes for what is no token.
const Vocabulary& llama2_like() {
  static const auto made = [] {
    json::object vocab{{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}};
    for (unsigned byte = 0; byte < 256; ++byte) {
      constexpr std::string_view kDigits = "0123456789ABCDEF";
      vocab[std::string("<0x") + kDigits[byte >> 4] + kDigits[byte & 15] + ">"] = vocab.size();
    }
    for (const char* piece : {"\xe2\x96\x81", "a", "b", "t", "h", "e", "\xc3\xa9", "th", "the", "\xe2\x96\x81the", "ab", "\xe2\x96\x81\xe2\x96\x81"}) vocab[piece] = vocab.size();
    auto file = json::parse(R"({"normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
          {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
          {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}})").as_object();
    file["model"] = json::object{{"type", "BPE"}, {"unk_token", "<unk>"}, {"fuse_unk", true}, {"byte_fallback", true}, {"vocab", std::move(vocab)},
                                 {"merges", json::array{"t h", "th e", "▁ the", "a b", "▁ ▁"}}};
    for (const char* content : {"<unk>", "<s>", "</s>"}) testing::add_token(file, content, {{"special", true}, {"normalized", false}});
    return testing::tokenizer_of(file);
  }();
  return made;
}

/// Added tokens that take the space beside them, stand for whole words only, or are looked for behind the normalizer.
const Vocabulary& with_flags() {
  static const auto made = [] {
    auto file = testing::byte_level_file();
    file["normalizer"] = json::parse(R"({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]})");
    testing::add_token(file, "<L>", {{"lstrip", true}, {"normalized", false}});
    testing::add_token(file, "<R>", {{"rstrip", true}, {"normalized", false}});
    testing::add_token(file, "word", {{"single_word", true}, {"normalized", false}});
    testing::add_token(file, "Ab", {{"normalized", true}});
    testing::add_token(file, "<n>", {{"normalized", true}, {"lstrip", true}, {"rstrip", true}});
    testing::add_token(file, "<s>", {{"special", true}});
    return testing::tokenizer_of(file);
  }();
  return made;
}

std::vector<Token> tokens_of(const HuggingFaceTokenizer& tokenizer, std::string_view text, SpecialText special) {
  auto tokens = tokenizer.encode(text, special);
  require(tokens.has_value(), tokens ? "" : "UTF-8 can be encoded: " + tokens.error().message);
  require(std::ranges::all_of(*tokens, [&](Token token) { return token >= 0 && static_cast<std::size_t>(token) < tokenizer.vocab_size(); }),
          "a text becomes tokens of the vocabulary");
  return *std::move(tokens);
}

std::string text_of(const HuggingFaceTokenizer& tokenizer, const std::vector<Token>& tokens) {
  auto text = tokenizer.decode(tokens);
  require(text.has_value() && is_utf8(*text), "tokens decode to UTF-8");
  return *std::move(text);
}

std::string replaced(std::string text, std::string_view what, std::string_view by) {
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size())) text.replace(at, what.size(), by);
  return text;
}

/// A vocabulary of bytes whose added tokens are all special: a text comes back as `expected`, and plain text forges none of them.
void check_bytes(const HuggingFaceTokenizer& tokenizer, std::string_view text, std::string_view expected, bool has_special) {
  const auto plain = tokens_of(tokenizer, text, SpecialText::plain_text);
  require(text_of(tokenizer, plain) == expected, "bytes come back");
  require(std::ranges::all_of(plain, [](Token token) { return static_cast<std::size_t>(token) < 256 + testing::kSmallMerges.size(); }), "plain text forges no special token");
  const auto recognised = tokens_of(tokenizer, text, SpecialText::recognise);
  if (has_special) {
    require(recognised != plain, "special tokens are recognised");
    text_of(tokenizer, recognised);
  } else {
    require(recognised == plain, "a text without special tokens is plain, and encoded again it has the same tokens");
  }
}

void check_text(std::string_view text) {
  const bool has_special = text.find("<|im") != std::string_view::npos || text.find("\xef\xbd\x9c") != std::string_view::npos;
  check_bytes(*gpt2_like(), text, text, has_special);
  check_bytes(*llama3_like(), text, text, has_special);
  check_bytes(*qwen_like(), text, huggingface::normalize_nfc(text), has_special);
  check_bytes(*one_piece(), text, text, false);
  if (text.size() <= 80) {  // long enough for both ways of merging
    require(tokens_of(*one_piece(), text, SpecialText::plain_text) == testing::merged_slowly(std::string(text), testing::kSmallMerges), "merges go by their definition");
  }
  require(text_of(*llama2_like(), tokens_of(*llama2_like(), text, SpecialText::plain_text)) == replaced(std::string(text), "\xe2\x96\x81", " "), "characters and bytes come back");
  text_of(*llama2_like(), tokens_of(*llama2_like(), text, SpecialText::recognise));
  for (const auto special : {SpecialText::recognise, SpecialText::plain_text}) text_of(*with_flags(), tokens_of(*with_flags(), text, special));
}

/// Pairs of bytes as ids, most of them in the vocabulary.
void check_tokens(const std::uint8_t* data, std::size_t size) {
  std::vector<Token> tokens;
  for (std::size_t i = 0; i + 1 < size; i += 2) tokens.push_back(static_cast<Token>(data[i]) + 256 * (data[i + 1] % 3) - (data[i + 1] == 255 ? 1000 : 0));
  for (const auto* tokenizer : {&gpt2_like(), &llama3_like(), &qwen_like(), &one_piece(), &llama2_like(), &with_flags()}) {
    for (const auto& text : {(*tokenizer)->decode(tokens), (*tokenizer)->decode_without_special(tokens)}) {
      require(text.has_value() && is_utf8(*text), "whatever tokens decode to is UTF-8");
    }
  }
}

}  // namespace

PIPESTILL_FUZZ_TARGET(encode_text) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (is_utf8(text)) {
    check_text(text);
  } else {
    for (const auto* tokenizer : {&gpt2_like(), &llama3_like(), &qwen_like(), &one_piece(), &llama2_like(), &with_flags()}) {
      const auto tokens = (*tokenizer)->encode(text, SpecialText::recognise);
      require(!tokens, "text that is no UTF-8 is refused");
      fuzz::require_sound_refusal(tokens.error());
    }
  }
  check_tokens(data, size);
  return 0;
}
