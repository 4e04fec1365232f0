#pragma once
// One token a character, from a list of characters in a file: the smallest vocabulary for a model that is trained here.
#include <memory>
#include <unordered_map>

#include "ports/tokenizer/special_tokens.hpp"
#include "ports/tokenizer/tokenizer.hpp"

namespace pipestill {

/// Read from `chars.json`:
/// {"type":"chars","special_tokens":["<|pad|>",...],"eos_token":"<|end|>","characters":" abc..."}.
/// Ids are the special tokens in their order, then the characters (Unicode code points) in theirs. No bos.
class CharsTokenizer final : public Tokenizer {
 public:
  static constexpr const char* kFileName = "chars.json";

  /// `place` names the file in error texts. Strict: exactly the four keys, special tokens not empty and without repetition, eos_token one
  /// of them, characters not empty and without repetition.
  [[nodiscard]] static Result<std::shared_ptr<const CharsTokenizer>> parse(std::string_view json_text, const std::string& place);

  /// Text that is not UTF-8 is ErrorCode::invalid_input too.
  [[nodiscard]] Result<std::vector<Token>> encode(std::string_view text, SpecialText special) const override;
  [[nodiscard]] Result<std::string> decode(std::span<const Token> tokens) const override;
  [[nodiscard]] std::optional<Token> special_token(std::string_view text) const override { return specials_.find(text); }
  [[nodiscard]] std::optional<Token> bos() const override { return std::nullopt; }
  [[nodiscard]] std::optional<Token> eos() const override { return specials_.find(eos_); }
  [[nodiscard]] std::size_t vocab_size() const override { return specials_.texts().size() + characters_.size(); }
  [[nodiscard]] std::string fingerprint() const override;
  [[nodiscard]] Result<void> save(const std::filesystem::path& directory) const override;

 private:
  CharsTokenizer(std::vector<std::string> specials, std::string eos, std::vector<std::string> characters);
  Result<void> append_plain(std::string_view text, std::vector<Token>& tokens) const;

  SpecialTokens specials_;
  std::string eos_;
  std::vector<std::string> characters_;                   ///< each in UTF-8
  std::unordered_map<std::string_view, Token> token_of_;  ///< keys point into characters_
};

}  // namespace pipestill
