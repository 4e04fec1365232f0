// A SentencePiece model: what it may hold, and what one that is accepted does to short texts.
#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ports/printable.hpp"
#include "ports/tokenizer/sentencepiece_tokenizer.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/fuzz/tokenizer_check.hpp"

namespace {

using namespace pipestill;
using pipestill::fuzz::require;

constexpr std::string_view kPieceTexts[] = {"", "ab aab  b", "AAAAab<s><user></s>", "\xe2\x96\x81 \xc3\xa9\xe6\x97\xa5\xf0\x9f\x98\x80\n", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"};

std::string text_of(const SentencePieceTokenizer& tokenizer, const std::vector<Token>& tokens) {
  const auto text = tokenizer.decode(tokens);
  require(text.has_value() && is_utf8(*text), "tokens decode to UTF-8");
  return *text;
}

void check_text(const SentencePieceTokenizer& tokenizer, std::string_view text, SpecialText special) {
  if (const auto tokens = fuzz::require_sound_tokens(tokenizer, text, special)) text_of(tokenizer, *tokens);
}

}  // namespace

PIPESTILL_FUZZ_TARGET(sentencepiece_model) {
  const auto tokenizer = SentencePieceTokenizer::parse(std::string(reinterpret_cast<const char*>(data), size), "tokenizer.model");
  if (!tokenizer) {
    fuzz::require_sound_refusal(tokenizer.error());
    require(tokenizer.error().message.find("pipestill_sentencepiece.so") == std::string::npos, "the library is there");
    return 0;
  }
  for (const auto text : kPieceTexts) {
    for (const auto special : {SpecialText::recognise, SpecialText::plain_text}) check_text(**tokenizer, text, special);
  }
  std::vector<Token> every;
  for (Token token = 0; static_cast<std::size_t>(token) < (*tokenizer)->vocab_size(); ++token) {
    every.push_back(token);
    const auto text = text_of(**tokenizer, {token});
    if (const auto special = (*tokenizer)->special_token(text); special && *special == (*tokenizer)->bos()) {
      require((*tokenizer)->encode(text, SpecialText::recognise).value() == std::vector{*special}, "a control symbol is recognised");
    }
  }
  text_of(**tokenizer, every);
  const auto& directory = fuzz::scratch_directory();
  require((*tokenizer)->save(directory).has_value(), "a model can be written");
  const auto copy = Tokenizer::load((directory / SentencePieceTokenizer::kFileName).string());
  require(copy.has_value() && (*copy)->fingerprint() == (*tokenizer)->fingerprint(), "a model survives being written and read");
  return 0;
}
