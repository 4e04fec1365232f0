#pragma once
// Hugging Face's tokenizer.json: byte-pair encoding, with what stands around it.
#include <boost/json/value.hpp>
#include <memory>

#include "ports/tokenizer/huggingface/added_tokens.hpp"
#include "ports/tokenizer/huggingface/bpe.hpp"
#include "ports/tokenizer/huggingface/normalizer.hpp"
#include "ports/tokenizer/huggingface/post_processor.hpp"
#include "ports/tokenizer/huggingface/pre_tokenizer.hpp"
#include "ports/tokenizer/huggingface/token_decoder.hpp"
#include "ports/tokenizer/special_ids.hpp"
#include "ports/tokenizer/tokenizer.hpp"

namespace pipestill {

/// Gives the ids that Hugging Face tokenizers 0.23.2 gives for the same file: a text is cut at its added tokens, what lies between them is
/// normalised, cut at normalised added tokens, cut into pieces, and each piece encoded by merges. What the file says of
/// truncation and padding is left aside, as transformers does, and keys that are not known are.
/// A special token here is an added one, flagged special or not.
class HuggingFaceTokenizer final : public Tokenizer {
 public:
  static constexpr const char* kFileName = "tokenizer.json";
  static constexpr const char* kConfigFileName = "tokenizer_config.json";

  /// `place` names the file in error texts; `directory` is where bos and eos are looked for. ErrorCode::invalid_input, naming file and key, for what cannot
  /// be read: other models than BPE, unknown normalizers, pre-tokenizers, post-processors and decoders, merges of tokens that are not there, regular
  /// expressions that mean something else here, more of anything than huggingface/json_place.hpp allows.
  [[nodiscard]] static Result<std::shared_ptr<const HuggingFaceTokenizer>> parse(std::string text, const std::string& place,
                                                                                 const std::filesystem::path& directory);

  /// plain_text is transformers' split_special_tokens=True: added tokens that are flagged special are ordinary text, the others still count.
  /// Text that is not UTF-8 is ErrorCode::invalid_input. Time grows with the text as n log n at most.
  [[nodiscard]] Result<std::vector<Token>> encode(std::string_view text, SpecialText special) const override;
  [[nodiscard]] Result<std::vector<Token>> encode_with_special_tokens(std::string_view text, SpecialText special) const override;
  [[nodiscard]] Result<std::string> decode(std::span<const Token> tokens) const override;
  /// decode() without the tokens that are flagged special: transformers' skip_special_tokens=True.
  [[nodiscard]] Result<std::string> decode_without_special(std::span<const Token> tokens) const;
  [[nodiscard]] std::optional<Token> special_token(std::string_view text) const override;
  [[nodiscard]] std::optional<Token> bos() const override { return ids_.bos; }
  [[nodiscard]] std::optional<Token> eos() const override { return ids_.eos; }
  /// The highest id and one: what a model's embedding has rows for, at least.
  [[nodiscard]] std::size_t vocab_size() const override { return texts_.size(); }
  [[nodiscard]] std::string fingerprint() const override { return fingerprint_; }
  /// Writes tokenizer.json as it was read, and bos and eos into a tokenizer_config.json.
  [[nodiscard]] Result<void> save(const std::filesystem::path& directory) const override;

 private:
  HuggingFaceTokenizer() : raw_({}), normalized_({}) {}
  Result<void> read(const boost::json::object& file, const huggingface::JsonPlace& place);
  Result<void> read_added_tokens(const boost::json::object& file, const huggingface::JsonPlace& place);
  Result<void> append(std::string_view text, SpecialText special, std::vector<Token>& tokens) const;
  Result<void> append_pieces(std::string_view text, std::vector<Token>& tokens) const;
  Result<std::string> decode(std::span<const Token> tokens, bool skips_special) const;
  [[nodiscard]] std::string digest(const boost::json::object& file) const;

  std::string text_ = {};  ///< the file
  std::vector<huggingface::AddedToken> added_ = {};
  huggingface::AddedTokenMatcher raw_, normalized_;  ///< those that are looked for before and behind the normalizer
  huggingface::Normalizer normalizer_ = {};
  huggingface::PreTokenizer pre_tokenizer_ = {};
  std::shared_ptr<const huggingface::BpeModel> model_ = {};
  huggingface::PostProcessor post_processor_ = {};
  huggingface::TokenDecoder decoder_ = {};
  std::vector<std::string> texts_ = {};  ///< by id
  std::vector<bool> is_there_ = {}, is_special_ = {};  ///< by id
  SpecialIds ids_ = {};
  std::string fingerprint_ = {};
};

}  // namespace pipestill
