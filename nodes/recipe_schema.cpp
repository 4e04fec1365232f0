#include "nodes/recipe_schema.hpp"

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "ports/printable.hpp"

namespace pipestill {
namespace {

namespace json = boost::json;

std::string_view last_part(std::string_view path) { return path.substr(path.rfind('.') + 1); }  // npos + 1 is 0

bool has_dot(std::string_view name) { return name.find('.') != std::string_view::npos; }

bool is_section(std::string_view path, std::span<const KeyInfo> keys) {
  return std::ranges::any_of(keys,
                             [&](const KeyInfo& key) { return key.name.starts_with(path) && key.name.substr(path.size(), 1) == "."; });
}

const KeyInfo* find_key(std::string_view path, std::span<const KeyInfo> keys) {
  const auto found = std::ranges::find(keys, path, &KeyInfo::name);
  return found == keys.end() ? nullptr : &*found;
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one word into the other.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> cost(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = i + j;
        continue;
      }
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      const bool is_swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (is_swap) cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
    }
  }
  return cost[a.size()][b.size()];
}

/// The known key or section that `path` was probably meant to be; empty if none is near. A right name in the wrong section is near.
std::string nearest(std::string_view path, std::span<const KeyInfo> keys) {
  const auto name = last_part(path);
  const std::size_t limit = std::max<std::size_t>(1, name.size() / 3);
  std::size_t best = limit + 1;
  std::string found;
  const auto consider = [&](std::string_view candidate) {
    if (name.size() > candidate.size() + limit) return;                    // too far away whatever it says, and its table might be huge
    const auto elsewhere = edit_distance(name, last_part(candidate)) + 1;  // worse than the same name in the same section
    const auto distance = std::min(edit_distance(path, candidate), elsewhere);
    if (distance < best) {
      best = distance;
      found = candidate;
    }
  };
  for (const auto& key : keys) {
    consider(key.name);
    for (auto dot = key.name.find('.'); dot != std::string::npos; dot = key.name.find('.', dot + 1)) consider(key.name.substr(0, dot));
  }
  return found;
}

std::string quoted_list(const std::vector<std::string>& words) {
  std::string list;
  for (const auto& word : words) list += (list.empty() ? "\"" : ", \"") + word + "\"";
  return list;
}

/// Whole doubles become integers as long as every integer of that size is a double.
json::value canonical(const json::value& value) {
  constexpr double kExact = 9007199254740992;  // 2^53
  if (!value.is_double()) return value;
  const double number = value.get_double();
  return std::abs(number) <= kExact && std::trunc(number) == number ? json::value(static_cast<std::int64_t>(number)) : value;
}

/// As a resolved recipe holds it: a number key's integer of more than 2^53 is what it counts as, a double, so that it comes out like the
/// same number with a fraction or an exponent.
json::value as_resolved(const KeyInfo& key, const json::value& value) {
  return canonical(key.type == KeyInfo::Type::number && value.is_number() ? json::value(value.to_number<double>()) : value);
}

std::string show_bound(double bound) { return show(canonical(bound)); }

/// What the key accepts, to stand behind "must be".
std::string expectation(const KeyInfo& key) {
  std::string text;
  switch (key.type) {
    case KeyInfo::Type::boolean:
      text = "true or false";
      break;
    case KeyInfo::Type::integer:
      text = "an integer";
      break;
    case KeyInfo::Type::number:
      text = "a number";
      break;
    case KeyInfo::Type::string:
      text = key.choices.empty() ? "a string" : "one of " + quoted_list(key.choices);
      break;
    case KeyInfo::Type::string_list:
      text = "a list of strings" + (key.choices.empty() ? "" : ", each one of " + quoted_list(key.choices));
      break;
    case KeyInfo::Type::section:
      text = "a section (an object with keys)";
      break;
  }
  if (key.minimum && key.maximum) {
    text += " from " + show_bound(*key.minimum) + " to " + show_bound(*key.maximum);
  } else if (key.minimum) {
    text += " of at least " + show_bound(*key.minimum);
  } else if (key.maximum) {
    text += " of at most " + show_bound(*key.maximum);
  }
  return text + (key.is_nullable ? ", or null" : "");
}

bool is_in_range(const json::value& value, const KeyInfo& key) {
  const auto number = value.to_number<double>();
  return std::isfinite(number) && (!key.minimum || number >= *key.minimum) && (!key.maximum || number <= *key.maximum);
}

bool is_choice(const json::value& value, const KeyInfo& key) {
  if (!value.is_string()) return false;
  return key.choices.empty() || std::ranges::find(key.choices, std::string_view(value.get_string())) != key.choices.end();
}

bool accepts(const KeyInfo& key, const json::value& value) {
  if (value.is_null()) return key.is_nullable;
  switch (key.type) {
    case KeyInfo::Type::boolean:
      return value.is_bool();
    case KeyInfo::Type::integer:
      return (value.is_int64() || value.is_uint64()) && is_in_range(value, key);
    case KeyInfo::Type::number:
      return value.is_number() && is_in_range(value, key);
    case KeyInfo::Type::string:
      return is_choice(value, key);
    case KeyInfo::Type::section:
      return value.is_object();
    case KeyInfo::Type::string_list:
      return value.is_array() &&
             std::ranges::all_of(value.get_array(), [&](const json::value& element) { return is_choice(element, key); });
  }
  return false;
}

/// Sections of the way to `key` must be objects where they are there at all.
Result<void> check_sections(const json::object& given, const KeyInfo& key, const std::string& file_name) {
  for (auto dot = key.name.find('.'); dot != std::string::npos; dot = key.name.find('.', dot + 1)) {
    const auto section = key.name.substr(0, dot);
    const auto* value = find_value(given, section);
    if (value && !value->is_object()) return refuse(file_name, section + " must be a section (an object with keys), not " + show(*value));
  }
  return {};
}

bool is_left_out(const json::object& given, std::string_view path, std::span<const std::string_view> optional_sections) {
  return std::ranges::any_of(optional_sections, [&](std::string_view section) {
    return path.starts_with(section) && path.substr(section.size(), 1) == "." && !find_value(given, section);
  });
}

/// The first name of a key, at any depth, that has a dot in it.
std::optional<std::string> find_dotted_name(const json::object& object) {
  for (const auto& member : object) {
    if (has_dot(member.key())) return std::string(member.key());
    if (!member.value().is_object()) continue;
    if (auto name = find_dotted_name(member.value().get_object())) return name;
  }
  return std::nullopt;
}

std::optional<std::string> find_unknown_below(const json::object& object, const std::string& prefix, std::span<const KeyInfo> keys) {
  for (const auto& member : object) {
    const auto path = prefix + std::string(member.key());
    if (has_dot(member.key())) return path;  // "a.b" is not the key b of section a, even if that is known
    if (find_key(path, keys)) continue;
    if (!is_section(path, keys)) return path;
    if (!member.value().is_object()) continue;  // a matter of type, not of names
    if (auto unknown = find_unknown_below(member.value().get_object(), path + ".", keys)) return unknown;
  }
  return std::nullopt;
}

}  // namespace

tl::unexpected<Error> refuse(const std::string& file_name, const std::string& what) {
  return fail(ErrorCode::invalid_input, file_name + ": " + what);
}

std::string show(const json::value& value) {
  if (value.is_double()) {  // 0.004 rather than 4E-3
    std::array<char, 32> digits{};
    const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), value.get_double());
    const std::string number(digits.data(), end);
    return number.find_first_of(".e") == std::string::npos ? number + ".0" : number;
  }
  return printable(json::serialize(value));
}

const json::value* find_value(const json::object& object, std::string_view path) {
  const auto dot = path.find('.');
  const auto* value = object.if_contains(path.substr(0, dot));
  if (!value || dot == std::string_view::npos) return value;
  return value->is_object() ? find_value(value->get_object(), path.substr(dot + 1)) : nullptr;
}

bool put_value(json::object& object, std::string_view path, json::value value) {
  const auto dot = path.find('.');
  if (dot == std::string_view::npos) {
    object[path] = std::move(value);
    return true;
  }
  const auto section = object.emplace(path.substr(0, dot), json::object()).first;
  return section->value().is_object() && put_value(section->value().get_object(), path.substr(dot + 1), std::move(value));
}

std::optional<std::string> find_unknown_key(const json::object& given, std::span<const KeyInfo> keys) {
  return find_unknown_below(given, "", keys);
}

Result<json::object> resolve(const json::object& given, std::span<const KeyInfo> keys, const std::string& file_name,
                             std::span<const std::string_view> optional_sections) {
  if (const auto name = find_dotted_name(given)) {
    return refuse(file_name, "the key \"" + printable(*name) +
                                 "\" has a dot in its name; only --set takes paths, here a section is an object of its own");
  }
  if (const auto unknown = find_unknown_key(given, keys)) {
    const auto near = nearest(*unknown, keys);
    const auto* kind = find_value(given, *unknown)->is_object() ? "section " : "key ";
    return refuse(file_name, std::string("unknown ") + kind + printable(*unknown) + (near.empty() ? "" : "; did you mean " + near + "?"));
  }
  json::object resolved;
  for (const auto& key : keys) {
    if (is_left_out(given, key.name, optional_sections)) continue;
    if (auto sections = check_sections(given, key, file_name); !sections) return fail(sections.error());
    const auto* value = find_value(given, key.name);
    if (!value && key.is_required) {
      return refuse(file_name, "the key " + key.name + " is missing; it must be " + expectation(key) + " (" + key.help + ")");
    }
    if (value && !accepts(key, *value)) return refuse(file_name, key.name + " must be " + expectation(key) + ", not " + show(*value));
    if (!value && key.default_value.empty()) continue;
    // A default that is not JSON, or two keys that stand in each other's way, is a mistake of ours in a description: parse() throws.
    if (!put_value(resolved, key.name, as_resolved(key, value ? *value : json::parse(key.default_value)))) {
      return fail(ErrorCode::internal, "the description of the recipe key " + key.name + " makes another key its section");
    }
  }
  return resolved;
}

}  // namespace pipestill
