#pragma once
// tokenizer.json's "decoder": tokens' texts to a text.
#include <boost/json/value.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ports/tokenizer/huggingface/json_place.hpp"
#include "ports/tokenizer/huggingface/regex.hpp"

namespace pipestill::huggingface {

/// ByteLevel, Replace, ByteFallback, Fuse, Strip, and sequences of them. Immutable, thread-safe.
class TokenDecoder {
 public:
  TokenDecoder() = default;  ///< the texts with a space between each two
  [[nodiscard]] static Result<TokenDecoder> parse(const boost::json::value& value, const JsonPlace& place);

  /// ErrorCode::invalid_input if a regular expression gives up, or replacements make the text grow above grown_at_most().
  [[nodiscard]] Result<std::string> decode(std::vector<std::string> texts) const;

 private:
  struct Step {
    enum class Kind { byte_level, replace, byte_fallback, fuse, strip } kind;
    std::string pattern = {}, content = {};
    std::shared_ptr<const Regex> regex = {};
    std::size_t start = 0, stop = 0;
  };
  Result<void> add(const boost::json::object& object, const std::string& type, const JsonPlace& place);

  std::vector<Step> steps_ = {};
  bool is_there_ = false;
};

}  // namespace pipestill::huggingface
