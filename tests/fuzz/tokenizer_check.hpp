#pragma once
// What any tokenizer keeps to, whatever its vocabulary.
#include <algorithm>
#include <optional>
#include <string_view>
#include <vector>

#include "ports/tokenizer/tokenizer.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace pipestill::fuzz {

/// The text's tokens, which are of the vocabulary and the same a second time; nothing where the text is refused, as it should be.
inline std::optional<std::vector<Token>> require_sound_tokens(const Tokenizer& tokenizer, std::string_view text, SpecialText special) {
  auto tokens = tokenizer.encode(text, special);
  if (!tokens) {
    require_sound_refusal(tokens.error());
    return std::nullopt;
  }
  require(std::ranges::all_of(*tokens, [&](Token token) { return token >= 0 && static_cast<std::size_t>(token) < tokenizer.vocab_size(); }),
          "a text becomes tokens of the vocabulary");
  const auto again = tokenizer.encode(text, special);
  require(again.has_value() && *again == *tokens, "a text that is encoded again has the same tokens");
  return *std::move(tokens);
}

}  // namespace pipestill::fuzz
