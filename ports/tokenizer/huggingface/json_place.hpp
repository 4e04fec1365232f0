#pragma once
// Reading tokenizer.json by keys: errors name the file and the key.
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "graph/base/error.hpp"

namespace pipestill::huggingface {

/// Where in a file a value stands: "DIR/tokenizer.json: pre_tokenizer.pretokenizers[2].pattern".
class JsonPlace {
 public:
  explicit JsonPlace(std::string file) : file_(std::move(file)) {}
  [[nodiscard]] JsonPlace key(std::string_view name) const;
  [[nodiscard]] JsonPlace item(std::size_t index) const;
  [[nodiscard]] std::string text() const { return path_.empty() ? file_ : file_ + ": " + path_; }
  /// ErrorCode::invalid_input: the place, then `what`.
  [[nodiscard]] tl::unexpected<Error> refuse(const std::string& what) const;

 private:
  std::string file_, path_ = {};
};

/// Files from elsewhere are refused above these; the largest in use have a fifth of it.
inline constexpr std::size_t kMaxFileBytes = std::size_t{128} << 20;
inline constexpr std::size_t kMaxTokens = std::size_t{1} << 21, kMaxMerges = std::size_t{1} << 22, kMaxAddedTokens = std::size_t{1} << 17;
inline constexpr std::size_t kMaxAddedBytes = 4096, kMaxPatternBytes = 16384, kMaxSteps = 64;

/// Null and missing alike are nullptr.
[[nodiscard]] const boost::json::value* find_value(const boost::json::object& object, std::string_view key);
[[nodiscard]] Result<const boost::json::object*> object_of(const boost::json::value& value, const JsonPlace& place);
/// Without `otherwise` the key must be there.
[[nodiscard]] Result<bool> bool_at(const boost::json::object& object, std::string_view key, const JsonPlace& place, std::optional<bool> otherwise = {});
[[nodiscard]] Result<std::string> string_at(const boost::json::object& object, std::string_view key, const JsonPlace& place,
                                            std::optional<std::string> otherwise = {});

/// What Split and Replace look for: {"String": "..."} or {"Regex": "..."}.
struct Pattern {
  bool is_regex = false;
  std::string text;
};
[[nodiscard]] Result<Pattern> pattern_at(const boost::json::object& object, const JsonPlace& place);

/// Applies `read` to the members of a {"type":"Sequence","<list>":[...]}, or to the value itself.
template <class Read>
Result<void> for_each_member(const boost::json::value& value, const JsonPlace& place, std::string_view list, const Read& read) {
  const auto object = object_of(value, place);
  if (!object) return fail(object.error());
  const auto type = string_at(**object, "type", place);
  if (!type) return fail(type.error());
  if (*type != "Sequence") return read(**object, *type, place);
  const auto* members = find_value(**object, list);
  if (!members || !members->is_array()) return place.key(list).refuse("must be a list");
  for (std::size_t i = 0; i < members->get_array().size(); ++i) {
    if (auto done = for_each_member(members->get_array()[i], place.key(list).item(i), list, read); !done) return done;
  }
  return {};
}

}  // namespace pipestill::huggingface
