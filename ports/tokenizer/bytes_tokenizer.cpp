#include "ports/tokenizer/bytes_tokenizer.hpp"

#include "ports/sha256.hpp"
#include "ports/text_file.hpp"

namespace pipestill {

BytesTokenizer::BytesTokenizer()
    : specials_({std::string(kPadToken), std::string(kSystemToken), std::string(kUserToken), std::string(kAssistantToken),
                 std::string(kEndToken)},
                256) {}

Result<std::vector<Token>> BytesTokenizer::encode(std::string_view text, SpecialText special) const {
  std::vector<Token> tokens;
  tokens.reserve(text.size());
  const auto add_bytes = [&](std::string_view bytes) {
    for (const char byte : bytes) tokens.push_back(static_cast<unsigned char>(byte));
  };
  if (special == SpecialText::plain_text) {
    add_bytes(text);
    return tokens;
  }
  for (const auto& piece : specials_.split(text)) {
    if (piece.special) {
      tokens.push_back(*piece.special);
    } else {
      add_bytes(piece.text);
    }
  }
  return tokens;
}

Result<std::string> BytesTokenizer::decode(std::span<const Token> tokens) const {
  std::string text;
  text.reserve(tokens.size());
  for (const Token token : tokens) {
    if (token >= 0 && token < 256) {
      text.push_back(static_cast<char>(token));
    } else if (const std::string* special = specials_.text(token)) {
      text += *special;
    } else {
      return fail(ErrorCode::invalid_input, "token " + std::to_string(token) +
                                                " is outside the vocabulary \"bytes\", which has the ids 0 to " +
                                                std::to_string(vocab_size() - 1));
    }
  }
  return text;
}

std::string BytesTokenizer::fingerprint() const {
  Sha256 hash;
  hash.field("bytes").number(specials_.texts().size());
  for (const auto& text : specials_.texts()) hash.field(text);
  return to_hex(hash.field(kEndToken).finish());
}

Result<void> BytesTokenizer::save(const std::filesystem::path& directory) const {
  return write_text_file(directory / kFileName, "{\"type\":\"bytes\"}\n");
}

}  // namespace pipestill
