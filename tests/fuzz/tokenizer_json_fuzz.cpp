// A tokenizer.json: what it may hold, and what a file that is accepted does to short texts.
#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ports/printable.hpp"
#include "ports/tokenizer/huggingface_tokenizer.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/fuzz/tokenizer_check.hpp"

namespace {

using namespace pipestill;
using pipestill::fuzz::require;

constexpr std::string_view kShortTexts[] = {"",
                                             "a",
                                             "ab ab  abba",
                                             " the\n12 cats'll\t",
                                             "\xc3\xa9 e\xcc\x81 \xe6\x97\xa5\xf0\x9f\x98\x80",
                                             "<s>ab</s><u> \xe2\x96\x81<0x41>"};

void require_text(const Result<std::string>& text) {
  if (text) {
    require(is_utf8(*text), "tokens decode to UTF-8");
  } else {
    fuzz::require_sound_refusal(text.error());
  }
}

void check_text(const HuggingFaceTokenizer& tokenizer, std::string_view text, SpecialText special) {
  const auto tokens = fuzz::require_sound_tokens(tokenizer, text, special);
  if (!tokens) return;
  const auto whole = tokenizer.encode_with_special_tokens(text, special);
  require(whole.has_value() && (tokens->empty() || std::search(whole->begin(), whole->end(), tokens->begin(), tokens->end()) != whole->end()),
          "tokens are put around a text, not into it");
  require_text(tokenizer.decode(*tokens));
  require_text(tokenizer.decode_without_special(*tokens));
}

void require_same_when_saved(const HuggingFaceTokenizer& tokenizer) {
  const auto& directory = fuzz::scratch_directory();
  require(tokenizer.save(directory).has_value(), "a vocabulary can be written");
  const auto copy = Tokenizer::load(directory.string());
  require(copy.has_value(), copy ? "" : "a written vocabulary is accepted: " + copy.error().message);
  require((*copy)->fingerprint() == tokenizer.fingerprint(), "a vocabulary survives being written and read");
}

}  // namespace

PIPESTILL_FUZZ_TARGET(tokenizer_json) {
  const auto tokenizer = HuggingFaceTokenizer::parse(std::string(reinterpret_cast<const char*>(data), size), "tokenizer.json", "/nonexistent");
  if (!tokenizer) {
    fuzz::require_sound_refusal(tokenizer.error());
    return 0;
  }
  for (const auto text : kShortTexts) {
    for (const auto special : {SpecialText::recognise, SpecialText::plain_text}) check_text(**tokenizer, text, special);
  }
  std::vector<Token> every;
  const auto size_of_every = static_cast<Token>(std::min<std::size_t>((*tokenizer)->vocab_size() + 2, 1000));
  for (Token token = -1; token < size_of_every; ++token) every.push_back(token);
  require_text((*tokenizer)->decode(every));
  require_same_when_saved(**tokenizer);
  return 0;
}
