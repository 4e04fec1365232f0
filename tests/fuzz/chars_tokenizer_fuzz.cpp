// A vocabulary, chars.json.
#include <array>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "ports/text_file.hpp"
#include "ports/tokenizer/chars_tokenizer.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace {

using namespace pipestill;
using pipestill::fuzz::require;

std::string text_of(const CharsTokenizer& tokenizer, Token token) {
  const auto text = tokenizer.decode(std::array{token});
  require(text.has_value() && !text->empty(), "every token has a text");
  return *text;
}

/// Every id has a text, and that text has the id.
void require_consistent(const CharsTokenizer& tokenizer) {
  std::vector<Token> plain;
  std::string plain_text;
  for (Token token = 0; token < static_cast<Token>(tokenizer.vocab_size()); ++token) {
    const auto text = text_of(tokenizer, token);
    if (const auto special = tokenizer.special_token(text); special && *special == token) {
      const auto found = tokenizer.encode(text, SpecialText::recognise);
      require(found.has_value() && *found == std::vector{token}, "a special token is recognised");
      continue;
    }
    plain.push_back(token);
    plain_text += text;
  }
  const auto encoded = tokenizer.encode(plain_text, SpecialText::plain_text);
  require(encoded.has_value() && *encoded == plain, "a text of all characters has the tokens of all characters");
  require(tokenizer.eos() && !text_of(tokenizer, *tokenizer.eos()).empty(), "there is an end of text");
  for (const Token outside : {Token{-1}, static_cast<Token>(tokenizer.vocab_size()), std::numeric_limits<Token>::min()}) {
    const auto text = tokenizer.decode(std::array{outside});
    require(!text, "a token outside the vocabulary is refused");
    fuzz::require_sound_refusal(text.error());
  }
}

void require_round_trip(const CharsTokenizer& tokenizer) {
  const auto& directory = fuzz::scratch_directory();
  require(tokenizer.save(directory).has_value(), "a vocabulary can be written");
  const auto copy = Tokenizer::load((directory / CharsTokenizer::kFileName).string());
  require(copy.has_value(), copy ? "" : "a written vocabulary is accepted: " + copy.error().message);
  require((*copy)->fingerprint() == tokenizer.fingerprint(), "a vocabulary survives being written and read");
}

}  // namespace

PIPESTILL_FUZZ_TARGET(chars_tokenizer) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto tokenizer = CharsTokenizer::parse(text, "chars.json");
  if (!tokenizer) {
    fuzz::require_sound_refusal(tokenizer.error());
    return 0;
  }
  require_consistent(**tokenizer);
  require_round_trip(**tokenizer);
  // Text of the user's, too: what the vocabulary cannot express is refused in a sentence as well.
  for (const auto special : {SpecialText::recognise, SpecialText::plain_text}) {
    const auto tokens = (*tokenizer)->encode(text, special);
    if (!tokens) {
      fuzz::require_sound_refusal(tokens.error());
    } else {
      const auto decoded = (*tokenizer)->decode(*tokens);
      require(decoded.has_value() && *decoded == text, "what was encoded decodes to itself");
    }
  }
  return 0;
}
