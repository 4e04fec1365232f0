#include "ports/strict_json.hpp"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/object.hpp>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <system_error>
#include <utility>
#include <vector>

#include "ports/printable.hpp"

namespace pipestill {
namespace {

namespace json = boost::json;

/// Called by boost::json::basic_parser for every piece of the text. Where it refuses one, `refusal` says why and parsing ends there.
struct StrictHandler {
  static constexpr std::size_t max_object_size = std::numeric_limits<std::size_t>::max();
  static constexpr std::size_t max_array_size = std::numeric_limits<std::size_t>::max();
  static constexpr std::size_t max_key_size = std::numeric_limits<std::size_t>::max();
  static constexpr std::size_t max_string_size = std::numeric_limits<std::size_t>::max();

  struct Level {
    json::value container;  ///< an object or an array
    std::string key = {};   ///< of an object: whose value comes next
  };

  std::vector<Level> levels;  ///< the containers that are open, outermost first
  json::value root;
  std::string text;  ///< pieces of the string or key being read
  std::string refusal;
  bool takes_any_number = false;  ///< instead of refusing those that it cannot hold

  [[nodiscard]] std::string path() const {
    std::string path;
    for (const auto& level : levels) {
      if (const auto* array = level.container.if_array()) {
        path.append("[").append(std::to_string(array->size())).append("]");
      } else {
        path.append(path.empty() ? "" : ".").append(level.key);
      }
    }
    return path;
  }
  bool refuse(std::string why, json::error_code& ec) {
    refusal = std::move(why);
    ec = json::error::syntax;
    return false;
  }
  bool add(json::value value) {
    if (levels.empty()) {
      root = std::move(value);
    } else if (auto* array = levels.back().container.if_array()) {
      array->push_back(std::move(value));
    } else {
      levels.back().container.get_object().emplace(levels.back().key, std::move(value));
    }
    return true;
  }
  bool open(json::value container) {
    levels.push_back({std::move(container)});
    return true;
  }
  bool close() {
    auto container = std::move(levels.back().container);
    levels.pop_back();
    return add(std::move(container));
  }
  bool append(json::string_view piece) {
    text.append(piece.data(), piece.size());
    return true;
  }

  bool on_document_begin(json::error_code&) { return true; }
  bool on_document_end(json::error_code&) { return true; }
  bool on_object_begin(json::error_code&) { return open(json::object()); }
  bool on_object_end(std::size_t, json::error_code&) { return close(); }
  bool on_array_begin(json::error_code&) { return open(json::array()); }
  bool on_array_end(std::size_t, json::error_code&) { return close(); }
  bool on_key_part(json::string_view piece, std::size_t, json::error_code&) { return append(piece); }
  bool on_key(json::string_view piece, std::size_t, json::error_code& ec) {
    append(piece);
    levels.back().key = std::exchange(text, {});
    if (!levels.back().container.get_object().contains(levels.back().key)) return true;
    return refuse("the key " + printable(path()) + " is given twice; keep one of the two", ec);
  }
  bool on_string_part(json::string_view piece, std::size_t, json::error_code&) { return append(piece); }
  bool on_string(json::string_view piece, std::size_t, json::error_code&) {
    append(piece);
    return add(json::value(std::exchange(text, {})));
  }
  bool on_number_part(json::string_view, json::error_code&) { return true; }
  bool on_int64(std::int64_t number, json::string_view, json::error_code&) { return add(number); }
  bool on_uint64(std::uint64_t number, json::string_view, json::error_code&) { return add(number); }
  bool on_double(double nearest, json::string_view digits, json::error_code& ec) {
    const std::string shown(digits);
    const bool is_integer = shown.find_first_of(".eE") == std::string::npos;
    if (is_integer && !takes_any_number) {
      return refuse("the integer " + printable(shown) + " does not fit in 64 bits; where the key takes a larger one, write it as a string", ec);
    }
    double number = 0;
    const auto [end, error] = std::from_chars(shown.data(), shown.data() + shown.size(), number);
    if (error == std::errc() && end == shown.data() + shown.size() && std::isfinite(number)) return add(number);
    if (takes_any_number) return add(nearest);  // Boost's, of what is too large or too small
    return refuse("the number " + printable(shown) + " is too large or too small for a double", ec);
  }
  bool on_bool(bool value, json::error_code&) { return add(value); }
  bool on_null(json::error_code&) { return add(nullptr); }
  bool on_comment_part(json::string_view, json::error_code&) { return true; }
  bool on_comment(json::string_view, json::error_code&) { return true; }
};

/// `:line:column` of the byte at `offset`, where the text begins with line `first`; columns count characters, not bytes.
std::string place(std::string_view text, std::size_t offset, std::uint64_t first) {
  const auto before = text.substr(0, offset);
  const auto line_begin = before.rfind('\n') + 1;  // npos + 1 is 0
  const auto is_first_byte = [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; };
  const auto line = first + static_cast<std::uint64_t>(std::count(before.begin(), before.end(), '\n'));
  const auto column = 1 + std::count_if(before.begin() + static_cast<std::ptrdiff_t>(line_begin), before.end(), is_first_byte);
  return std::string(":").append(std::to_string(line)).append(":").append(std::to_string(column));
}

std::string explain(const json::error_code& ec, std::string_view rest, std::size_t max_depth) {
  if (ec == json::error::incomplete) return "the JSON text ends too early; a value, bracket or quote is not closed";
  if (ec == json::error::too_deep) return "more than " + std::to_string(max_depth) + " levels of brackets";
  if (ec == json::error::exponent_overflow) return "a number is too large for a double";
  const char c = rest.empty() ? '\0' : rest.front();
  if (c == '}' || c == ']') return std::string("unexpected ") + c + " (JSON has no comma behind the last element)";
  if (c == '/' || c == '#') return std::string("unexpected ") + c + " (JSON has no comments)";
  if (c == '\'') return "unexpected ' (JSON strings stand in double quotes)";
  if (c > ' ' && c < '\x7f') return std::string("unexpected ") + c + " in JSON";
  return c >= '\0' && c < ' ' ? "a control character or line end inside a string must be escaped"
                              : "a character that cannot stand here, or that is not valid UTF-8";
}

Result<json::value> parse_within(std::string_view text, const std::string& name, const JsonLineOptions& limits, bool takes_any_number) {
  if (text.size() > limits.max_bytes) {
    return fail(ErrorCode::invalid_input,
                name + ": " + std::to_string(text.size()) + " bytes of JSON; at most " + std::to_string(limits.max_bytes) + " are read");
  }
  json::parse_options options;
  options.max_depth = limits.max_depth;
  json::basic_parser<StrictHandler> parser(options);
  auto& handler = parser.handler();
  handler.takes_any_number = takes_any_number;
  json::error_code ec;
  const auto offset = parser.write_some(false, text.data(), text.size(), ec);
  const auto refuse = [&](const std::string& why) {
    return fail(ErrorCode::invalid_input, name + place(text, offset, limits.line) + ": " + why);
  };
  if (!handler.refusal.empty()) return refuse(handler.refusal);
  if (ec) return refuse(explain(ec, text.substr(offset), limits.max_depth));
  if (offset < text.size()) return refuse("text behind the end of the JSON value");
  return std::move(handler.root);
}

}  // namespace

Result<json::value> parse_strict_json(std::string_view text, const std::string& name, std::size_t max_bytes) {
  return parse_within(text, name, {.max_bytes = max_bytes}, false);
}

Result<json::value> parse_strict_json_line(std::string_view text, const std::string& name, const JsonLineOptions& options) {
  return parse_within(text, name, options, true);
}

}  // namespace pipestill
