#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <vector>

#include "ports/printable.hpp"
#include "ports/tokenizer/huggingface/regex.hpp"
#include "ports/tokenizer/huggingface/unicode_tables.hpp"

namespace pipestill::huggingface {
namespace {

std::string class_items(unicode::CodeRanges ranges) {
  std::string items;
  for (const auto& [first, last] : ranges) {
    items += fmt::format("\\x{{{:x}}}", static_cast<unsigned>(first));
    if (last > first) items += fmt::format("-\\x{{{:x}}}", static_cast<unsigned>(last));
  }
  return items;
}

const std::string& white_space_items() {
  static const std::string items = class_items(unicode::white_space());
  return items;
}
const std::string& word_items() {
  static const std::string items = class_items(unicode::word());
  return items;
}

/// One pass over the pattern; what is not named here reads alike in both.
class Translation {
 public:
  explicit Translation(std::string_view pattern) : rest_(pattern) {}

  Result<std::string> run() {
    while (!rest_.empty() && refusal_.empty()) step();
    if (refusal_.empty() && !group_begins_.empty()) refuse("a parenthesis is not closed");
    if (!refusal_.empty()) return fail(ErrorCode::invalid_input, refusal_);
    return std::move(out_);
  }

 private:
  /// What a class holds, or does not hold, written as the inside of [].
  struct Items {
    std::string text;
    bool is_complement = false;
  };

  void refuse(std::string why) {
    if (refusal_.empty()) refusal_ = std::move(why);
  }
  bool take(std::string_view text) {
    if (!rest_.starts_with(text)) return false;
    rest_.remove_prefix(text.size());
    return true;
  }
  std::string_view take_character() {
    std::size_t length = 1;
    while (length < rest_.size() && (static_cast<unsigned char>(rest_[length]) & 0xc0U) == 0x80U) ++length;
    const auto character = rest_.substr(0, length);
    rest_.remove_prefix(length);
    return character;
  }
  void atom(std::string_view text) {
    atom_begin_ = out_.size();
    out_ += text;
  }

  void step() {
    if (take("(")) return open_group();
    if (take(")")) {
      if (group_begins_.empty()) return refuse("a closing parenthesis has no opening one");
      atom_begin_ = group_begins_.back();
      group_begins_.pop_back();
      out_ += ')';
      return;
    }
    if (take("[")) return character_class();
    if (take("\\")) return escape();
    if (rest_.front() == '{') return interval();
    const auto character = take_character();
    if (character == "*" || character == "+" || character == "?") {
      out_ += character;
    } else if (character == "|") {
      out_ += '|';
      atom_begin_ = std::nullopt;
    } else {
      atom(character);
    }
  }

  void open_group() {
    const bool is_first = out_.empty();
    group_begins_.push_back(out_.size());
    atom_begin_ = std::nullopt;
    out_ += '(';
    if (!take("?")) return;
    for (const char* kind : {":", "=", "!", ">", "<=", "<!"}) {
      if (take(kind)) {
        out_ += std::string("?") + kind;
        return;
      }
    }
    if (take("<")) {  // a name
      out_ += "?<";
      return;
    }
    std::string options;
    while (!rest_.empty() && (rest_.front() == 'i' || rest_.front() == 'm' || rest_.front() == '-')) {
      options += rest_.front() == 'm' ? 's' : rest_.front();  // Ruby's m lets . match a line end, which is PCRE2's s
      rest_.remove_prefix(1);
    }
    if (take(":")) {
      out_ += "?" + options + ":";
    } else if (is_first && take(")")) {
      out_ += "?" + options + ")";
      group_begins_.pop_back();
    } else {
      refuse("(?" + printable(rest_.substr(0, 8)) + " is not known; groups are (?:, (?=, (?!, (?<=, (?<!, (?>, (?<name>, (?i:, (?m: and (?-i:, and (?i) at the beginning");
    }
  }

  /// {n}, {n,}, {,m}, {n,m}; anything else is a brace as such.
  void interval() {
    const auto end = rest_.find('}');
    std::string inside(rest_.substr(1, end == std::string_view::npos ? 0 : end - 1));
    const bool is_interval = !inside.empty() && inside != "," && inside.find_first_not_of("0123456789,") == std::string::npos && std::count(inside.begin(), inside.end(), ',') <= 1;
    if (!is_interval) {
      rest_.remove_prefix(1);
      return atom("\\{");
    }
    if (!atom_begin_) return refuse("a repetition {...} has nothing to repeat");
    rest_.remove_prefix(end + 1);
    const bool is_fixed = inside.find(',') == std::string::npos;
    if (inside.front() == ',') inside.insert(0, 1, '0');
    out_ += "{" + inside + "}";
    // Ruby: {n,m}+ repeats the repetition, and {n}? makes it optional, where PCRE2 reads possessive and reluctant.
    if (rest_.starts_with("+") || (is_fixed && rest_.starts_with("?"))) {
      out_.insert(*atom_begin_, "(?:");
      out_ += ")";
    }
  }

  /// Behind a backslash, what stands for a class of characters; nothing was taken if there is none.
  std::optional<Items> class_escape() {
    const char kind = rest_.empty() ? '\0' : rest_.front();
    const auto simple = [&](std::string items, bool is_complement) {
      rest_.remove_prefix(1);
      return Items{std::move(items), is_complement};
    };
    switch (kind) {
      case 's': case 'S': return simple(white_space_items(), kind == 'S');
      case 'w': case 'W': return simple(word_items(), kind == 'W');
      case 'd': case 'D': return simple("\\p{Nd}" + class_items(unicode::new_since_unicode_14("Nd")), kind == 'D');
      case 'h': case 'H': return simple("0-9a-fA-F", kind == 'H');
      case 'p': case 'P': break;
      default: return std::nullopt;
    }
    const bool is_upper = kind == 'P';
    const auto end = rest_.find('}');
    if (rest_.size() < 2 || rest_[1] != '{' || end == std::string_view::npos) {
      refuse("\\p must be followed by a name in braces");
      return std::nullopt;
    }
    auto name = std::string(rest_.substr(2, end - 2));
    rest_.remove_prefix(end + 1);
    const bool is_negated = name.starts_with("^");
    if (is_negated) name.erase(0, 1);
    return Items{property(name), is_negated != is_upper};
  }

  std::string property(std::string name) {
    std::string plain;
    for (const char c : name) {
      if (c != ' ' && c != '_' && c != '-') plain += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    static constexpr std::array<std::array<const char*, 2>, 18> kLong{{{"letter", "L"}, {"number", "N"}, {"mark", "M"}, {"punctuation", "P"},
      {"punct", "P"}, {"symbol", "S"}, {"uppercaseletter", "Lu"}, {"lowercaseletter", "Ll"}, {"titlecaseletter", "Lt"}, {"modifierletter", "Lm"},
      {"otherletter", "Lo"}, {"decimalnumber", "Nd"}, {"separator", "Z"}, {"other", "C"}, {"spaceseparator", "Zs"}, {"control", "Cc"},
      {"nonspacingmark", "Mn"}, {"spacingmark", "Mc"}}};
    static constexpr std::array kCategories{"L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "Me", "N", "Nd", "Nl", "No", "P", "Pc", "Pd", "Ps", "Pe", "Pi",
                                            "Pf", "Po", "S", "Sm", "Sc", "Sk", "So", "Z", "Zs", "Zl", "Zp", "C", "Cc", "Cf", "Co"};
    if (plain == "han") return class_items(unicode::han());
    for (const auto& [text, category] : kLong) {
      if (plain == text) name = category;
    }
    for (const std::string_view category : kCategories) {
      if (name.size() == category.size() && std::equal(name.begin(), name.end(), category.begin(), [](char a, char b) {
            return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
          })) {
        return "\\p{" + std::string(category) + "}" + class_items(unicode::new_since_unicode_14(category));
      }
    }
    static constexpr std::array kScripts{"hiragana", "katakana", "hangul", "latin", "greek", "cyrillic", "arabic", "hebrew", "thai", "devanagari", "bengali", "tamil"};
    if (std::find(kScripts.begin(), kScripts.end(), plain) != kScripts.end()) return "\\p{sc:" + plain + "}";  // without sc: PCRE2 adds script extensions
    refuse("\\p{" + printable(name) + "} is not known; the general categories are (L, Lu, N, ...), Han and a few other scripts");
    return {};
  }

  /// An escape that stands for one character, inside and outside of a class; nothing was taken if it is none.
  std::optional<std::string> character_escape() {
    if (rest_.empty()) {
      refuse("the pattern ends in a backslash");
      return std::nullopt;
    }
    const char kind = rest_.front();
    if (kind == 'u' && rest_.size() >= 5) {
      const std::string digits(rest_.substr(1, 4));
      if (digits.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos) {
        rest_.remove_prefix(5);
        return "\\x{" + digits + "}";
      }
    }
    if (kind == 'x') {
      const bool has_braces = rest_.size() > 1 && rest_[1] == '{';
      const auto begin = has_braces ? std::size_t{2} : std::size_t{1};
      std::size_t end = begin;
      while (end < rest_.size() && std::isxdigit(static_cast<unsigned char>(rest_[end])) && end - begin < (has_braces ? 6U : 2U)) ++end;
      const std::string digits(rest_.substr(begin, end - begin));
      const bool is_ascii = has_braces || (digits.size() <= 2 && !digits.empty() && std::stoul(digits, nullptr, 16) < 0x80);
      if (digits.empty() || !is_ascii || (has_braces && (end == rest_.size() || rest_[end] != '}'))) {
        refuse("\\x must be \\x{...} or two digits below 80");
        return std::nullopt;
      }
      rest_.remove_prefix(end + (has_braces ? 1 : 0));
      return "\\x{" + digits + "}";
    }
    static constexpr std::string_view kControls = "tnrfae";
    if (kControls.find(kind) != std::string_view::npos) {
      rest_.remove_prefix(1);
      return std::string("\\") + kind;
    }
    if (kind == 'v') {
      rest_.remove_prefix(1);
      return "\\x{b}";
    }
    if (std::isalnum(static_cast<unsigned char>(kind))) return std::nullopt;
    const auto character = take_character();
    return character.size() == 1 ? "\\" + std::string(character) : std::string(character);
  }

  void escape() {
    if (auto items = class_escape()) return atom((items->is_complement ? "[^" : "[") + items->text + "]");
    if (auto character = character_escape()) return atom(*character);
    if (!refusal_.empty()) return;
    const char kind = rest_.front();
    const auto inside = "(?<=[" + word_items() + "])", outside = "(?<![" + word_items() + "])", before = "(?=[" + word_items() + "])",
               not_before = "(?![" + word_items() + "])";
    rest_.remove_prefix(1);
    if (kind == 'b') return atom("(?:" + inside + not_before + "|" + outside + before + ")");
    if (kind == 'B') return atom("(?:" + inside + before + "|" + outside + not_before + ")");
    if (kind == 'A' || kind == 'z' || kind == 'Z' || (kind >= '1' && kind <= '9')) return atom(std::string("\\") + kind);
    refuse(std::string("\\") + printable(std::string(1, kind)) + " is not known here");
  }

  void character_class() {
    const bool is_negated = take("^");
    std::string items;
    std::vector<std::string> complements;  // what stands beside the items, as a class of its own
    if (rest_.starts_with("]")) return refuse("an empty [] matches nothing");
    while (refusal_.empty()) {
      if (rest_.empty()) return refuse("a [ is not closed");
      if (take("]")) break;
      if (rest_.starts_with("[") || rest_.starts_with("&&")) return refuse("a class inside a class and && are not known; write \\[ for the bracket");
      if (take("\\")) {
        if (auto escaped = class_escape()) {
          if (escaped->is_complement) {
            complements.push_back("[^" + escaped->text + "]");
          } else {
            items += escaped->text;
            if (rest_.starts_with("-") && !rest_.starts_with("-]")) {  // a hyphen behind a class is one
              rest_.remove_prefix(1);
              items += "\\-";
            }
          }
        } else if (auto character = character_escape()) {
          items += *character;
        } else if (refusal_.empty()) {
          if (take("b")) items += "\\x{8}";
          else return refuse(std::string("\\") + rest_.front() + " is not known in a class");
        }
        continue;
      }
      const auto character = take_character();
      items += character;
    }
    if (!refusal_.empty()) return;
    if (complements.empty()) return atom((is_negated ? "[^" : "[") + items + "]");
    std::string any = items.empty() ? "" : "[" + items + "]";
    for (const auto& complement : complements) any += (any.empty() ? "" : "|") + complement;
    atom(is_negated ? "(?:(?!" + any + ")[\\x{0}-\\x{10ffff}])" : "(?:" + any + ")");
  }

  std::string_view rest_;
  std::string out_ = {}, refusal_ = {};
  std::vector<std::size_t> group_begins_ = {};
  std::optional<std::size_t> atom_begin_ = {};  ///< in out_: what a repetition would repeat
};

}  // namespace

Result<std::string> translate_regex(std::string_view pattern) { return Translation(pattern).run(); }

}  // namespace pipestill::huggingface
