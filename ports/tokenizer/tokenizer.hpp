#pragma once
// The tokenizer port: text to tokens and back.
#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/base/error.hpp"
#include "ports/types.hpp"

namespace pipestill {

/// What to do with the text of a special token inside plain text.
enum class SpecialText {
  recognise,   ///< it becomes that token, as in Hugging Face
  plain_text,  ///< it is encoded as ordinary characters: a user's text cannot forge a role (tokenizer.json: those flagged special; tokenizer.model: control symbols)
};

/// Immutable and thread-safe.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Picks the adapter: the name "bytes", or a vocabulary file, or a directory with one. Where a directory has several, `tokenizer.json` (Hugging Face)
  /// counts, then `tokenizer.model` (SentencePiece; as a file, whatever ends in .model), then `chars.json` or `bytes.json`, which must not both be there.
  [[nodiscard]] static Result<std::shared_ptr<const Tokenizer>> load(const std::string& name_or_path);

  /// Adds no special tokens. Text that the vocabulary cannot express is ErrorCode::invalid_input, naming the character.
  [[nodiscard]] virtual Result<std::vector<Token>> encode(std::string_view text, SpecialText special) const = 0;
  /// encode(), with the tokens that the vocabulary's file puts before and behind a text: none, unless the adapter says otherwise.
  [[nodiscard]] virtual Result<std::vector<Token>> encode_with_special_tokens(std::string_view text, SpecialText special) const { return encode(text, special); }
  /// Special tokens appear as their text. A token outside the vocabulary is ErrorCode::invalid_input; but as in Hugging Face it is left out by a
  /// vocabulary from tokenizer.json. There and in tokenizer.model bytes that are no UTF-8 become U+FFFD.
  [[nodiscard]] virtual Result<std::string> decode(std::span<const Token> tokens) const = 0;

  /// The token whose text is exactly `text`, if it is a special one.
  [[nodiscard]] virtual std::optional<Token> special_token(std::string_view text) const = 0;
  [[nodiscard]] virtual std::optional<Token> bos() const = 0;
  [[nodiscard]] virtual std::optional<Token> eos() const = 0;
  [[nodiscard]] virtual std::size_t vocab_size() const = 0;
  /// SHA-256 over the normalised content, in hexadecimal: equal tokenizers have equal fingerprints.
  [[nodiscard]] virtual std::string fingerprint() const = 0;
  /// Writes what load() reads, so that a model directory is complete. Built-in ones write a file that names them.
  [[nodiscard]] virtual Result<void> save(const std::filesystem::path& directory) const = 0;
};

}  // namespace pipestill
