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

/// A JSON value that is only passed on. It keeps what Boost.JSON does not: integers of any size, NaN and Infinity, lone surrogates in
/// strings, and of a key that is given twice the first place with the last value.
class PythonJson {
 public:
  using Members = std::vector<std::pair<std::u32string, PythonJson>>;
  using Elements = std::vector<PythonJson>;

  /// json.loads(text). At most 200 levels. Otherwise ErrorCode::invalid_input, beginning with "Invalid JSON: ". Bytes that are no UTF-8
  /// count as U+FFFD.
  [[nodiscard]] static Result<PythonJson> parse(std::string_view text);

  /// json.dumps(value): ", " and ": ", everything but ASCII as \uXXXX (in pairs above U+FFFF), floats in the fewest digits that give
  /// them back.
  [[nodiscard]] std::string dumps() const;

  [[nodiscard]] bool is_object() const { return std::holds_alternative<Members>(value_); }
  /// A member of an object; null if there is none, or this is no object.
  [[nodiscard]] const PythonJson* find(std::u32string_view key) const;
  /// A string's text; lone surrogates in it count as U+FFFD.
  [[nodiscard]] std::optional<std::string> text() const;

 private:
  friend class PythonJsonParser;
  /// null, true, false or a number, as it is printed.
  struct Atom {
    std::string printed;
  };
  void print(std::string& out) const;
  std::variant<Atom, std::u32string, Elements, Members> value_;
};

/// json.dumps of a string.
[[nodiscard]] std::string python_quoted(std::string_view text);

}  // namespace pipestill
