#pragma once
// Special tokens: those that stand for a text of their own and that no other text can be made of.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ports/types.hpp"

namespace pipestill {

/// The special tokens of the vocabularies that ship with this library: padding, one for each role, and the end of an answer.
inline constexpr std::string_view kPadToken = "<|pad|>", kSystemToken = "<|system|>", kUserToken = "<|user|>",
                                  kAssistantToken = "<|assistant|>", kEndToken = "<|end|>";

/// Texts and ids of a vocabulary's special tokens, which have consecutive ids. Immutable.
class SpecialTokens {
 public:
  /// `texts` are distinct and not empty.
  SpecialTokens(std::vector<std::string> texts, Token first_id) : texts_(std::move(texts)), first_id_(first_id) {}

  [[nodiscard]] std::optional<Token> find(std::string_view text) const;
  /// The text of `id`, if it is one of these.
  [[nodiscard]] const std::string* text(Token id) const;
  [[nodiscard]] const std::vector<std::string>& texts() const { return texts_; }

  /// A stretch of a text: a special token, or what stands between two of them.
  struct Piece {
    std::string_view text;
    std::optional<Token> special;
  };
  /// Cuts a text at its special tokens, the leftmost first and the longest among those that begin together.
  [[nodiscard]] std::vector<Piece> split(std::string_view text) const;

 private:
  std::vector<std::string> texts_;
  Token first_id_;
};

}  // namespace pipestill
