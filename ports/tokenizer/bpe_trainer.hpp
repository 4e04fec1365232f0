#pragma once
// Trains a byte-level BPE vocabulary, which HuggingFaceTokenizer reads and Hugging Face's own library does.
#include <boost/json/object.hpp>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "graph/base/error.hpp"
#include "ports/tokenizer/huggingface/pre_tokenizer.hpp"
#include "ports/tokenizer/special_tokens.hpp"

namespace pipestill {

struct BpeTrainingOptions {
  /// Special tokens, the 256 bytes, and merges: at least what the first two come to, at most 2^21.
  std::size_t vocab_size = 512;
  /// A pair that occurs less often is not merged, even if the vocabulary stays smaller for it. From 1 on.
  std::int64_t min_count = 2;
  /// The first ids, in this order. Distinct, not empty, UTF-8, and none the text of a byte's token.
  std::vector<std::string> special_tokens = {std::string(kPadToken), std::string(kSystemToken), std::string(kUserToken), std::string(kAssistantToken),
                                             std::string(kEndToken)};
  std::string eos_token = std::string(kEndToken);  ///< one of them
};

struct BpeVocabulary {
  boost::json::object tokenizer;  ///< tokenizer.json
  boost::json::object config;     ///< tokenizer_config.json, which says what eos is
  std::size_t tokens = 0, merges = 0;
};

/// Byte-pair encoding (Gage 1994; Sennrich, Haddow, Birch 2016): texts are cut into pieces, a piece is its bytes, and again and again the most frequent
/// pair of neighbours becomes a token, within pieces. Of equally frequent pairs the one with the lower left id counts, then the one with the lower
/// right id, so that the same texts, in any order, give the same vocabulary anywhere. Every place where the two stand side by side is an
/// occurrence, overlapping ones too; where a pair merges, it does so from the left. A pair that spells a special token stays apart.
/// Ids: special tokens, the bytes in the order of GPT-2's alphabet, then merges as they were made.
/// The pieces are GPT-2's (words with the space before them), but for digits, each of which is a piece: numbers are then read digit by digit.
///
/// Not thread-safe. Memory grows with the distinct pieces, time with their bytes and with the pairs that merge.
class BpeTrainer {
 public:
  /// ErrorCode::invalid_input, naming the option, for options outside what BpeTrainingOptions says.
  [[nodiscard]] static Result<BpeTrainer> make(BpeTrainingOptions options = {});

  /// Counts a text's pieces; the texts of special tokens are ordinary text. ErrorCode::invalid_input if it is not UTF-8; nothing of it counts then.
  [[nodiscard]] Result<void> add(std::string_view text);
  /// The vocabulary of all texts so far.
  [[nodiscard]] BpeVocabulary train() const;

 private:
  BpeTrainer(BpeTrainingOptions options, huggingface::PreTokenizer pre_tokenizer) : options_(std::move(options)), pre_tokenizer_(std::move(pre_tokenizer)) {}

  BpeTrainingOptions options_;
  huggingface::PreTokenizer pre_tokenizer_;
  std::unordered_map<std::string, std::int64_t> pieces_ = {};  ///< how often each occurs
};

}  // namespace pipestill
