#pragma once
// JSON as Python's json module reads and prints it: formats that were made in Python show models its very bytes.
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "graph/base/error.hpp"

namespace pipestill {

/// How json.dumps prints: its arguments `separators` and `sort_keys`.
struct PythonJsonStyle {
  std::string_view between_items = ", ", behind_key = ": ";
  bool sorts_keys = false;  ///< by code points
};

/// A JSON value that is only passed on. It keeps what Boost.JSON does not: integers of any size, NaN and Infinity, lone surrogates in
/// strings, and of a key that is given twice the first place with the last value.
class PythonJson {
 public:
  using Members = std::vector<std::pair<std::u32string, PythonJson>>;
  using Elements = std::vector<PythonJson>;

  /// json.loads(text). At most 200 levels. Otherwise ErrorCode::invalid_input, beginning with "Invalid JSON: ". Bytes that are no UTF-8
  /// count as U+FFFD.
  [[nodiscard]] static Result<PythonJson> parse(std::string_view text);

  /// json.dumps(value): everything but ASCII as \uXXXX (in pairs above U+FFFF), floats in the fewest digits that give them back.
  [[nodiscard]] std::string dumps(const PythonJsonStyle& style = {}) const;

  [[nodiscard]] bool is_object() const { return members() != nullptr; }
  /// An object's; null if this is none.
  [[nodiscard]] const Members* members() const { return std::get_if<Members>(&value_); }
  /// A list's; null if this is none.
  [[nodiscard]] const Elements* elements() const { return std::get_if<Elements>(&value_); }
  /// bool(value): false for null, false, zeros and what is empty.
  [[nodiscard]] bool is_truthy() const;
  /// A member of an object; null if there is none, or this is no object.
  [[nodiscard]] const PythonJson* find(std::u32string_view key) const;
  /// A string's code points; null if this is none.
  [[nodiscard]] const std::u32string* code_points() const { return std::get_if<std::u32string>(&value_); }
  /// A string's text; lone surrogates in it count as U+FFFD.
  [[nodiscard]] std::optional<std::string> text() const;

  bool operator==(const PythonJson&) const = default;

 private:
  friend class PythonJsonParser;
  /// null, true, false or a number, as it is printed.
  struct Atom {
    std::string printed;
    bool operator==(const Atom&) const = default;
  };
  void print(std::string& out, const PythonJsonStyle& style) const;
  std::variant<Atom, std::u32string, Elements, Members> value_;
};

/// json.dumps of a string.
[[nodiscard]] std::string python_quoted(std::string_view text);
/// The UTF-8 of code points, of which surrogates count as U+FFFD.
[[nodiscard]] std::string utf8_of(std::u32string_view text);

}  // namespace pipestill
