#include "ports/renderer/python_json.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <boost/locale/utf.hpp>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <string>
#include <unordered_map>

namespace pipestill {
namespace {

namespace utf = boost::locale::utf;

constexpr int kMaxPythonJsonDepth = 200;
constexpr char32_t kReplacement = 0xfffd;

bool is_surrogate(char32_t c) { return c >= 0xd800 && c <= 0xdfff; }

std::u32string to_code_points(std::string_view text) {
  std::u32string points;
  points.reserve(text.size());
  for (const char *at = text.data(), *end = text.data() + text.size(); at != end;) {
    const char* next = at;
    const auto code = utf::utf_traits<char>::decode(next, end);
    const bool is_text = code != utf::illegal && code != utf::incomplete;
    points.push_back(is_text ? static_cast<char32_t>(code) : kReplacement);
    at = is_text ? next : at + 1;
  }
  return points;
}

void print_string(std::u32string_view text, std::string& out) {
  out += '"';
  for (const char32_t c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      default:
        if (c >= 0x20 && c < 0x7f) {
          out += static_cast<char>(c);
        } else if (c == 0x7f) {
          out += '\x7f';
        } else if (c > 0xffff) {
          const auto rest = static_cast<std::uint32_t>(c) - 0x10000U;
          out += fmt::format("\\u{:04x}\\u{:04x}", 0xd800U + (rest >> 10U), 0xdc00U + (rest & 0x3ffU));
        } else {
          out += fmt::format("\\u{:04x}", static_cast<std::uint32_t>(c));
        }
    }
  }
  out += '"';
}

/// float.__repr__: the shortest digits, with an exponent below 1e-4 and from 1e16 on.
std::string python_float(double value) {
  if (value != value) return "NaN";
  if (value == std::numeric_limits<double>::infinity()) return "Infinity";
  if (value == -std::numeric_limits<double>::infinity()) return "-Infinity";
  if (value == 0) return std::signbit(value) ? "-0.0" : "0.0";
  char buffer[32];
  const auto end = std::to_chars(std::begin(buffer), std::end(buffer), value, std::chars_format::scientific).ptr;
  const std::string_view shown(buffer, static_cast<std::size_t>(end - buffer));
  const auto e = shown.find('e');
  const int exponent = std::atoi(std::string(shown.substr(e + 1)).c_str());
  if (exponent < -4 || exponent >= 16) return std::string(shown);
  char fixed[40];
  const auto fixed_end = std::to_chars(std::begin(fixed), std::end(fixed), value, std::chars_format::fixed).ptr;
  std::string text(fixed, static_cast<std::size_t>(fixed_end - fixed));
  return text.find('.') == std::string::npos ? text + ".0" : text;
}

/// `digits` has JSON's form of a number with a fraction or an exponent.
double to_double(const std::string& digits) {
  double value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc::result_out_of_range) return value;
  // Too large or too small for a double: as in Python an infinity, or 0. Which, says the power of ten of the first digit that counts.
  const bool is_negative = digits.front() == '-';
  const auto e = digits.find_first_of("eE");
  const std::string_view mantissa =
      std::string_view(digits).substr(is_negative ? 1 : 0, e == std::string::npos ? e : e - (is_negative ? 1 : 0));
  long long power = 0;
  if (e != std::string::npos) {
    const bool is_below = digits[e + 1] == '-';
    const auto first = digits.find_first_not_of("+-0", e + 1);
    const auto size = first == std::string::npos ? 0 : digits.size() - first;
    power = size > 15 ? std::numeric_limits<int>::max() : size == 0 ? 0 : std::atoll(digits.c_str() + first);
    if (is_below) power = -power;
  }
  const auto point = std::min(mantissa.find('.'), mantissa.size());
  const auto digit = mantissa.find_first_not_of("0.");
  if (digit == std::string_view::npos) return is_negative ? -0.0 : 0.0;
  power += static_cast<long long>(point) - static_cast<long long>(digit);
  const double magnitude = power > 0 ? std::numeric_limits<double>::infinity() : 0.0;
  return is_negative ? -magnitude : magnitude;
}

}  // namespace

/// Recursive descent over the text; Boost.JSON's parser knows neither NaN nor lone surrogates, which Python reads.
class PythonJsonParser {
 public:
  explicit PythonJsonParser(std::string_view text) : text_(text) {}

  Result<PythonJson> document() {
    PythonJson value;
    if (!parse(value, 0)) return refusal();
    skip_space();
    if (at_ < text_.size()) {
      wanted_ = "the end";
      return refusal();
    }
    return value;
  }

 private:
  tl::unexpected<Error> refusal() const {
    return fail(ErrorCode::invalid_input, "Invalid JSON: expected " + std::string(wanted_) + " at byte " + std::to_string(at_));
  }
  bool expect(const char* what) {
    wanted_ = what;
    return false;
  }
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) ++at_;
  }
  bool take(std::string_view literal) {
    if (!text_.substr(at_).starts_with(literal)) return false;
    at_ += literal.size();
    return true;
  }
  [[nodiscard]] bool at_digit() const { return at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; }

  bool parse(PythonJson& value, int depth) {
    if (depth > kMaxPythonJsonDepth) return expect("fewer levels of brackets");
    skip_space();
    if (take("{")) return parse_object(value.value_.emplace<PythonJson::Members>(), depth);
    if (take("[")) return parse_array(value.value_.emplace<PythonJson::Elements>(), depth);
    if (take("\"")) return parse_string(value.value_.emplace<std::u32string>());
    for (const char* word : {"null", "true", "false", "NaN", "Infinity", "-Infinity"}) {
      if (!take(word)) continue;
      value.value_ = PythonJson::Atom{word};
      return true;
    }
    return parse_number(value);
  }

  bool parse_object(PythonJson::Members& members, int depth) {
    skip_space();
    if (take("}")) return true;
    std::unordered_map<std::u32string, std::size_t> places;
    do {
      skip_space();
      if (!take("\"")) return expect("a key in double quotes");
      std::u32string key;
      if (!parse_string(key)) return false;
      skip_space();
      if (!take(":")) return expect("a colon");
      PythonJson member;
      if (!parse(member, depth + 1)) return false;
      const auto [place, is_new] = places.try_emplace(key, members.size());
      if (is_new) {
        members.emplace_back(std::move(key), std::move(member));
      } else {
        members[place->second].second = std::move(member);
      }
      skip_space();
    } while (take(","));
    return take("}") || expect("a comma or }");
  }

  bool parse_array(PythonJson::Elements& elements, int depth) {
    skip_space();
    if (take("]")) return true;
    do {
      if (!parse(elements.emplace_back(), depth + 1)) return false;
      skip_space();
    } while (take(","));
    return take("]") || expect("a comma or ]");
  }

  bool parse_string(std::u32string& text) {
    for (;;) {
      const auto begin = at_;
      while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\' && static_cast<unsigned char>(text_[at_]) >= 0x20) ++at_;
      text += to_code_points(text_.substr(begin, at_ - begin));
      if (take("\"")) return true;
      if (!take("\\")) return expect("a closing quote");
      if (!parse_escape(text)) return false;
    }
  }

  bool parse_escape(std::u32string& text) {
    constexpr std::string_view kLetters = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
    if (at_ < text_.size()) {
      if (const auto i = kLetters.find(text_[at_]); i != std::string_view::npos) {
        ++at_;
        text.push_back(static_cast<char32_t>(kMeanings[i]));
        return true;
      }
    }
    char32_t unit = 0;
    if (!take("u") || !parse_unit(unit)) return expect("an escape of JSON");
    // A high surrogate and a low one behind it are one character; one alone stays what it is.
    if (unit >= 0xd800 && unit <= 0xdbff) {
      const auto before = at_;
      char32_t low = 0;
      if (take("\\u") && parse_unit(low) && low >= 0xdc00 && low <= 0xdfff) {
        unit = 0x10000 + ((unit - 0xd800) << 10U) + (low - 0xdc00);
      } else {
        at_ = before;
      }
    }
    text.push_back(unit);
    return true;
  }
  bool parse_unit(char32_t& unit) {
    const auto digits = text_.substr(at_, 4);
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (digits.size() < 4 || error != std::errc() || end != digits.data() + 4) return false;
    at_ += 4;
    unit = value;
    return true;
  }

  bool parse_number(PythonJson& value) {
    const auto begin = at_;
    take("-");
    if (!at_digit()) {
      at_ = begin;
      return expect("a value");
    }
    if (!take("0")) {
      while (at_digit()) ++at_;
    }
    const auto whole = at_;
    // A point or an e without digits behind it does not belong to the number.
    if (take(".")) {
      const auto fraction = at_;
      while (at_digit()) ++at_;
      if (at_ == fraction) at_ = whole;
    }
    const auto before_exponent = at_;
    if (take("e") || take("E")) {
      if (!take("+")) take("-");
      const auto digits = at_;
      while (at_digit()) ++at_;
      if (at_ == digits) at_ = before_exponent;
    }
    const std::string shown(text_.substr(begin, at_ - begin));
    const bool is_integer = at_ == whole;
    value.value_ = PythonJson::Atom{!is_integer ? python_float(to_double(shown)) : shown == "-0" ? "0" : shown};
    return true;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  const char* wanted_ = "";
};

Result<PythonJson> PythonJson::parse(std::string_view text) { return PythonJsonParser(text).document(); }

std::string PythonJson::dumps(const PythonJsonStyle& style) const {
  std::string out;
  print(out, style);
  return out;
}

void PythonJson::print(std::string& out, const PythonJsonStyle& style) const {
  if (const auto* atom = std::get_if<Atom>(&value_)) {
    out += atom->printed;
  } else if (const auto* text = std::get_if<std::u32string>(&value_)) {
    print_string(*text, out);
  } else if (const auto* list = elements()) {
    out += '[';
    for (std::size_t i = 0; i < list->size(); ++i) {
      if (i > 0) out += style.between_items;
      (*list)[i].print(out, style);
    }
    out += ']';
  } else {
    std::vector<const Members::value_type*> ordered;
    for (const auto& member : *members()) ordered.push_back(&member);
    if (style.sorts_keys) std::ranges::sort(ordered, {}, [](const auto* member) -> const std::u32string& { return member->first; });
    out += '{';
    for (std::size_t i = 0; i < ordered.size(); ++i) {
      if (i > 0) out += style.between_items;
      print_string(ordered[i]->first, out);
      out += style.behind_key;
      ordered[i]->second.print(out, style);
    }
    out += '}';
  }
}

bool PythonJson::is_truthy() const {
  if (const auto* text = std::get_if<std::u32string>(&value_)) return !text->empty();
  if (const auto* list = elements()) return !list->empty();
  if (const auto* object = members()) return !object->empty();
  const auto& printed = std::get<Atom>(value_).printed;
  return printed != "null" && printed != "false" && printed != "0" && printed != "0.0" && printed != "-0.0";
}

const PythonJson* PythonJson::find(std::u32string_view key) const {
  const auto* all = members();
  if (!all) return nullptr;
  const auto found = std::ranges::find_if(*all, [key](const auto& member) { return member.first == key; });
  return found == all->end() ? nullptr : &found->second;
}

std::optional<std::string> PythonJson::text() const {
  const auto* points = std::get_if<std::u32string>(&value_);
  return points ? std::optional(utf8_of(*points)) : std::nullopt;
}

std::string utf8_of(std::u32string_view text) {
  std::string bytes;
  for (const char32_t c : text) {
    utf::utf_traits<char>::encode(static_cast<utf::code_point>(is_surrogate(c) ? kReplacement : c), std::back_inserter(bytes));
  }
  return bytes;
}

std::string python_quoted(std::string_view text) {
  std::string out;
  print_string(to_code_points(text), out);
  return out;
}

}  // namespace pipestill
