#pragma once
// tokenizer.json's "pre_tokenizer": cuts a text into the pieces that merges stay within.
#include <boost/json/value.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ports/tokenizer/huggingface/json_place.hpp"
#include "ports/tokenizer/huggingface/regex.hpp"

namespace pipestill::huggingface {

/// Who takes the pieces, in order. A piece is never empty.
class PieceSink {
 public:
  /// False ends the cutting.
  virtual bool add_piece(std::string_view piece) = 0;

 protected:
  ~PieceSink() = default;
};

/// Split, ByteLevel, Digits, Punctuation, and sequences of them. Immutable, thread-safe.
class PreTokenizer {
 public:
  PreTokenizer() = default;  ///< one piece
  [[nodiscard]] static Result<PreTokenizer> parse(const boost::json::value& value, const JsonPlace& place);

  /// Pieces are bytes, each of which is a symbol (by way of GPT-2's alphabet), instead of text.
  [[nodiscard]] bool is_byte_level() const { return is_byte_level_; }
  /// `text` is UTF-8. False if the sink ended it, or a regular expression gave up.
  [[nodiscard]] bool split(std::string_view text, PieceSink& sink) const { return run(0, text, sink); }

 private:
  enum class Behavior { removed, isolated, contiguous, merged_with_previous, merged_with_next };
  struct Step {
    enum class Kind { split_regex, split_text, split_numbers, split_punctuation, prefix_space, map_bytes, unmap_bytes } kind;
    Behavior behavior = Behavior::isolated;
    bool invert = false;
    std::string text = {};
    std::shared_ptr<const Regex> regex = {};
  };
  class Cutter;

  Result<void> add(const boost::json::object& object, const std::string& type, const JsonPlace& place);
  bool run(std::size_t step, std::string_view text, PieceSink& sink) const;

  std::vector<Step> steps_;
  bool is_byte_level_ = false;
};

}  // namespace pipestill::huggingface
