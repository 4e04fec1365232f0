#pragma once
// tokenizer.json's "model" of type BPE: pieces to tokens, by merges.
#include <boost/json/object.hpp>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ports/tokenizer/huggingface/json_place.hpp"
#include "ports/types.hpp"

namespace pipestill::huggingface {

/// Byte strings to ids; built once.
class TokenIndex {
 public:
  void reserve(std::size_t tokens, std::size_t bytes);
  /// `key` is not there yet.
  void insert(std::string_view key, Token id);
  [[nodiscard]] std::optional<Token> find(std::string_view key) const;

 private:
  struct Slot {
    std::uint32_t hash = 0, begin = 0, length = 0;
    Token id = -1;  ///< -1: free
  };
  std::vector<Slot> slots_;  ///< a power of two, at most half full
  std::string keys_;
};

/// Pairs of tokens that merge, with their rank and what they become; built once.
class MergeTable {
 public:
  struct Merge {
    std::uint32_t rank = std::numeric_limits<std::uint32_t>::max();
    Token token = -1;
  };
  void reserve(std::size_t merges);
  /// Of a pair that is there the later merge counts.
  void insert(Token left, Token right, Merge merge);
  /// Rank is the largest number if the pair does not merge.
  [[nodiscard]] Merge find(Token left, Token right) const {
    const auto key = key_of(left, right);
    for (auto at = slot_of(key);; at = (at + 1) & mask_) {
      if (slots_[at].key == key) return slots_[at].merge;
      if (slots_[at].key == kFree) return {};
    }
  }

 private:
  static constexpr std::uint64_t kFree = std::numeric_limits<std::uint64_t>::max();
  struct Slot {
    std::uint64_t key = kFree;
    Merge merge = {};
  };
  static std::uint64_t key_of(Token left, Token right) { return (std::uint64_t{static_cast<std::uint32_t>(left)} << 32) | static_cast<std::uint32_t>(right); }
  [[nodiscard]] std::size_t slot_of(std::uint64_t key) const {
    const auto mixed = (key ^ (key >> 29)) * 0x9e3779b97f4a7c15U;  // Fibonacci hashing (Knuth 6.4)
    return static_cast<std::size_t>(mixed >> 20) & mask_;
  }
  std::vector<Slot> slots_ = std::vector<Slot>(2);
  std::size_t mask_ = 1;
};

/// Byte-pair encoding as Hugging Face tokenizers 0.23.2 has it: the adjacent pair of lowest rank merges first, of equal ones the leftmost.
/// Immutable, thread-safe; a thread remembers the pieces that it encoded last.
class BpeModel {
 public:
  /// `is_byte_level`: pieces are bytes, and the vocabulary's texts are bytes in GPT-2's alphabet.
  [[nodiscard]] static Result<BpeModel> parse(const boost::json::object& model, bool is_byte_level, const JsonPlace& place);

  /// Appends the tokens of a piece. Time: O(n log n), n the bytes of its longest word where words are told apart by "▁", else of the piece. A character that is not in the vocabulary becomes its bytes, the unknown token, or nothing, as the
  /// file says; ErrorCode::invalid_input where the file names an unknown token that the vocabulary does not have.
  [[nodiscard]] Result<void> encode(std::string_view piece, std::vector<Token>& tokens) const;

  [[nodiscard]] std::size_t token_count() const { return token_count_; }
  /// By id; empty where there is no such token. As in the file: in GPT-2's alphabet where that is used.
  [[nodiscard]] const std::vector<std::string>& texts() const { return texts_; }
  /// The token whose text that is.
  [[nodiscard]] std::optional<Token> find(std::string_view text) const { return names_.find(text); }
  /// What equal models have equal: vocabulary, merges, options.
  [[nodiscard]] const std::string& digest() const { return digest_; }

 private:
  struct Symbol {
    Token id;
    std::int32_t previous, next;
    MergeTable::Merge merge = {};  ///< with the next one
  };

  Result<void> read_vocabulary(const boost::json::object& model, const JsonPlace& place);
  Result<void> read_merges(const boost::json::object& model, const JsonPlace& place);
  Result<void> read_options(const boost::json::object& model, const JsonPlace& place);
  void index_pieces();
  void find_word_marks();

  Result<void> encode_word(std::string_view piece, std::vector<Token>& tokens) const;
  /// The initial symbols, before any merge.
  Result<void> symbols_of(std::string_view piece, std::vector<Token>& symbols) const;
  Result<void> symbols_of_text(std::string_view piece, std::vector<Token>& symbols) const;
  Result<void> add_unlisted(std::string_view character, std::string_view symbol, Token& pending_unknown, std::vector<Token>& symbols) const;
  Result<void> merge_piece(std::string_view piece, std::vector<Token>& tokens) const;
  void merge_few(std::vector<Token>& symbols, std::vector<Token>& tokens) const;
  void merge_many(const std::vector<Token>& symbols, std::vector<Token>& tokens) const;

  bool is_byte_level_ = false, fuse_unk_ = false, byte_fallback_ = false, ignore_merges_ = false, has_unk_ = false, is_plain_ = false;
  bool has_words_ = false;           ///< a "▁" begins a word, which merges with nothing before it
  bool is_joined_at_mark_ = false;   ///< some merge joins what does not end in "▁" with what begins with it
  std::string unk_token_ = {}, prefix_ = {}, suffix_ = {};
  std::optional<Token> unk_id_ = {};
  std::vector<std::string> texts_ = {};
  std::size_t token_count_ = 0;
  TokenIndex names_ = {}, index_ = {};  ///< the vocabulary, as in the file and as pieces are given
  std::vector<bool> is_whole_ = {};     ///< by id: a piece that is this token's text becomes this token
  std::vector<Token> of_byte_ = {};     ///< byte level: by byte; -1 if a byte is no token
  std::vector<Token> fallback_ = {};    ///< <0x00> to <0xFF>; -1 where there is none
  MergeTable merges_ = {};
  std::string digest_ = {};
  std::uint64_t identity_ = 0;  ///< of this object among those of the process
};

}  // namespace pipestill::huggingface
