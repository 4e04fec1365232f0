#pragma once
// One token a byte: a vocabulary that needs no file and can express every text.
#include "ports/tokenizer/special_tokens.hpp"
#include "ports/tokenizer/tokenizer.hpp"

namespace pipestill {

/// Ids 0 to 255 are the bytes; from 256 on `<|pad|>`, `<|system|>`, `<|user|>`, `<|assistant|>`, `<|end|>`. No bos; eos is `<|end|>`.
/// decode() gives the bytes as they are, UTF-8 or not.
class BytesTokenizer final : public Tokenizer {
 public:
  static constexpr const char* kFileName = "bytes.json";

  BytesTokenizer();

  [[nodiscard]] Result<std::vector<Token>> encode(std::string_view text, SpecialText special) const override;
  [[nodiscard]] Result<std::string> decode(std::span<const Token> tokens) const override;
  [[nodiscard]] std::optional<Token> special_token(std::string_view text) const override { return specials_.find(text); }
  [[nodiscard]] std::optional<Token> bos() const override { return std::nullopt; }
  [[nodiscard]] std::optional<Token> eos() const override { return specials_.find(kEndToken); }
  [[nodiscard]] std::size_t vocab_size() const override { return 256 + specials_.texts().size(); }
  [[nodiscard]] std::string fingerprint() const override;
  /// Writes `bytes.json`, which says no more than that the vocabulary is this one.
  [[nodiscard]] Result<void> save(const std::filesystem::path& directory) const override;

 private:
  SpecialTokens specials_;
};

}  // namespace pipestill
