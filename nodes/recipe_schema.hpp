#pragma once
// The recipe's grammar: JSON objects checked against a list of keys.
#include <boost/json/object.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "graph/base/description.hpp"
#include "graph/base/error.hpp"

namespace pipestill {

/// `given` with every key checked and every default filled in: sections and keys stand in the order of `keys`. The names in `keys` are
/// paths with dots; whatever precedes the last dot is a section. A whole number given for Type::number is kept as an integer, so that 1
/// and 1.0 come out alike; an integer key takes no 3.0. A section in `optional_sections` may be left out as a whole; then none of its keys
/// is required, and no default of it is filled in. Every error is ErrorCode::invalid_input and one sentence that begins with `file_name`
/// and names the key's path: an unknown key or section (with the nearest known one, if one is near), a wrong type, a value out of range or
/// not among the choices (with what is accepted), a missing required key. Unknown keys are reported first, then the first fault in the
/// order of `keys`.
[[nodiscard]] Result<boost::json::object> resolve(const boost::json::object& given, std::span<const KeyInfo> keys,
                                                  const std::string& file_name, std::span<const std::string_view> optional_sections = {});

/// The path of the first key or section in `given` that `keys` does not have; nothing if there is none.
[[nodiscard]] std::optional<std::string> find_unknown_key(const boost::json::object& given, std::span<const KeyInfo> keys);

/// The value at a path with dots; null if there is none.
[[nodiscard]] const boost::json::value* find_value(const boost::json::object& object, std::string_view path);
/// Puts a value at a path with dots, making sections on the way. False if a part of the way is there and no section.
[[nodiscard]] bool put_value(boost::json::object& object, std::string_view path, boost::json::value value);

/// The error of everything that is wrong in a recipe: "<file>: <what>", ErrorCode::invalid_input.
[[nodiscard]] tl::unexpected<Error> refuse(const std::string& file_name, const std::string& what);

/// A JSON value as an error text shows it: cut where it is long.
[[nodiscard]] std::string show(const boost::json::value& value);

}  // namespace pipestill
