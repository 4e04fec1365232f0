#pragma once
// SentencePiece's tokenizer.model: unigram, BPE, and whatever else Debian's libsentencepiece (0.1.97) reads.
#include <memory>
#include <string>
#include <vector>

#include "ports/tokenizer/huggingface/added_tokens.hpp"
#include "ports/tokenizer/tokenizer.hpp"

namespace pipestill {

namespace spm {
class LibraryModel;
struct ModelFile;
}  // namespace spm

/// Gives the ids of the library's own encode(), which adds neither bos nor eos. Where a unigram model has several equally probable ways to cut a text ("111"
/// as 11 and 1, or 1 and 11), its rounding decides, and later versions (0.2) may decide otherwise.
///
/// Symbols that stand for themselves are of two kinds, and they are to a model what added tokens are to tokenizer.json: *user-defined* ones belong to the
/// text, and the library finds them in any text (so roles that a vocabulary writes with them can be forged by a text, as with transformers); *control* ones, like
/// <s>, it never finds in a text. SpecialText::plain_text is therefore the library's encode() of the whole. SpecialText::recognise cuts the text at control
/// symbols first, the leftmost, of several the longest, as transformers' slow tokenizers do; what stands between two of them is a text of its own, with the dummy prefix
/// that the model gives every text. The unknown piece is no such symbol: no text means it. Tokens that other files of a directory add to the model are not known.
class SentencePieceTokenizer final : public Tokenizer {
 public:
  static constexpr const char* kFileName = "tokenizer.model";

  /// `model` is the file's bytes, `place` its name in error texts. ErrorCode::invalid_input for what is no model, is damaged or contradicts itself
  /// (sentencepiece/model_file.hpp), and where the module with the library is missing. bos and eos are the model's own.
  [[nodiscard]] static Result<std::shared_ptr<const SentencePieceTokenizer>> parse(std::string model, const std::string& place);
  ~SentencePieceTokenizer() override;

  /// Text that is not UTF-8 is ErrorCode::invalid_input. Characters that the model has no piece for become their bytes, or the unknown piece.
  [[nodiscard]] Result<std::vector<Token>> encode(std::string_view text, SpecialText special) const override;
  /// The library's decode() of what stands between control symbols, which appear as their text; an unknown piece is what the model says (" ⁇ "). Bytes that are
  /// no UTF-8 become U+FFFD. A token outside the vocabulary is ErrorCode::invalid_input.
  [[nodiscard]] Result<std::string> decode(std::span<const Token> tokens) const override;
  /// Control and user-defined symbols.
  [[nodiscard]] std::optional<Token> special_token(std::string_view text) const override;
  [[nodiscard]] std::optional<Token> bos() const override;
  [[nodiscard]] std::optional<Token> eos() const override;
  [[nodiscard]] std::size_t vocab_size() const override { return symbols_.size(); }
  /// Over what makes ids and texts: pieces, algorithm, rules. What the file says of its training does not count.
  [[nodiscard]] std::string fingerprint() const override { return fingerprint_; }
  /// Writes tokenizer.model as it was read.
  [[nodiscard]] Result<void> save(const std::filesystem::path& directory) const override;

 private:
  SentencePieceTokenizer(std::string bytes, const spm::ModelFile& file, std::unique_ptr<const spm::LibraryModel> model);

  struct Symbol {
    std::string text = {};  ///< of control and user-defined symbols; empty for all other pieces
    bool is_control = false;
  };

  std::string bytes_;
  std::unique_ptr<const spm::LibraryModel> model_;
  std::vector<Symbol> symbols_;  ///< by id
  huggingface::AddedTokenMatcher controls_;
  std::string fingerprint_;
};

}  // namespace pipestill
