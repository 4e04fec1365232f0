#pragma once
// tokenizer.json's "normalizer": what happens to a text between added tokens before it is cut up.
#include <boost/json/value.hpp>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ports/tokenizer/huggingface/json_place.hpp"
#include "ports/tokenizer/huggingface/regex.hpp"

namespace pipestill::huggingface {

/// Unicode NFC by the data of Unicode 9, as tokenizers 0.23.2 has it: marks that are younger stay where they are. `text` is UTF-8.
[[nodiscard]] std::string normalize_nfc(std::string_view text);
/// Every character's lower case by itself (no final sigma).
[[nodiscard]] std::string lower_case(std::string_view text);

/// What a text of so many bytes may grow to: more is the work of a file whose replacements feed each other, 64 of which could fill any memory.
[[nodiscard]] constexpr std::size_t grown_at_most(std::size_t bytes) { return 64 * bytes + 4096; }

/// NFC, Lowercase, Prepend, Replace, and sequences of them. Immutable, thread-safe.
class Normalizer {
 public:
  Normalizer() = default;  ///< changes nothing
  [[nodiscard]] static Result<Normalizer> parse(const boost::json::value& value, const JsonPlace& place);

  [[nodiscard]] bool empty() const { return steps_.empty(); }
  /// `text` is UTF-8. ErrorCode::invalid_input if a regular expression gives up on it, or it grows above grown_at_most().
  [[nodiscard]] Result<std::string> normalize(std::string_view text) const;

 private:
  struct Step {
    enum class Kind { nfc, lowercase, prepend, replace } kind;
    std::string pattern = {}, content = {};
    std::shared_ptr<const Regex> regex = {};
  };
  std::vector<Step> steps_;
};

/// `text` with every match replaced; of `regex` if there is one, else of `pattern` (which, empty, matches nothing). ErrorCode::invalid_input if
/// the expression gives up, or the result has more than `max_bytes`.
[[nodiscard]] Result<std::string> replace_matches(std::string_view text, const Regex* regex, std::string_view pattern, std::string_view content,
                                                  std::size_t max_bytes);

}  // namespace pipestill::huggingface
