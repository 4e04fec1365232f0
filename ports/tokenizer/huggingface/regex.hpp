#pragma once
// The regular expressions of tokenizer.json, which Hugging Face runs on Oniguruma (Ruby's syntax, Unicode 16), on PCRE2 with its JIT compiler.
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "graph/base/error.hpp"

namespace pipestill::huggingface {

/// `pattern`, as PCRE2 has to read it to match what Oniguruma matches: \p{L} and the like with the characters of Unicode 16, the exact \s, \w and
/// \d, \b over that \w, `{n,m}+` as a repeated repetition. The error is a sentence without place: what PCRE2 cannot say, or has otherwise
/// (classes in classes, &&, \G, subroutine calls, options in the midst of a pattern).
[[nodiscard]] Result<std::string> translate_regex(std::string_view pattern);

/// Immutable, thread-safe.
class Regex {
 public:
  /// The error is a sentence without place.
  [[nodiscard]] static Result<std::shared_ptr<const Regex>> compile(std::string_view pattern);
  ~Regex();
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;

  enum class Search { found, none, gave_up };
  /// The leftmost match that begins at `from` or behind; `text` is UTF-8 and `from` a character's first byte. gave_up: the pattern
  /// would need more steps than any pattern in use needs.
  [[nodiscard]] Search find(std::string_view text, std::size_t from, std::size_t& begin, std::size_t& end) const;
  [[nodiscard]] const std::string& pattern() const { return pattern_; }

 private:
  struct Code;
  Regex(std::string pattern, std::unique_ptr<Code> code);

  std::string pattern_;
  std::unique_ptr<Code> code_;
};

/// The matches in `text` one behind the other, as Hugging Face finds them: `match(begin, end)` for each, in order; an empty match directly behind another one
/// is none. Ends early where `match` returns false; false if that, or the search giving up, ended it.
template <class Match>
bool for_each_match(const Regex& regex, std::string_view text, const Match& match) {
  std::size_t from = 0, last_end = text.size() + 1;
  while (from <= text.size()) {
    std::size_t begin = 0, end = 0;
    switch (regex.find(text, from, begin, end)) {
      case Regex::Search::gave_up: return false;
      case Regex::Search::none: return true;
      case Regex::Search::found: break;
    }
    if (begin == end && end == last_end) {
      do ++from;
      while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xc0U) == 0x80U);
      continue;
    }
    from = last_end = end;
    if (!match(begin, end)) return false;
  }
  return true;
}

}  // namespace pipestill::huggingface
