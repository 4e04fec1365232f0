#include "ports/tokenizer/huggingface/json_place.hpp"

#include "ports/printable.hpp"

namespace pipestill::huggingface {

namespace json = boost::json;

JsonPlace JsonPlace::key(std::string_view name) const {
  JsonPlace inner = *this;
  inner.path_ += (path_.empty() ? "" : ".") + printable(name);
  return inner;
}

JsonPlace JsonPlace::item(std::size_t index) const {
  JsonPlace inner = *this;
  inner.path_ += "[" + std::to_string(index) + "]";
  return inner;
}

tl::unexpected<Error> JsonPlace::refuse(const std::string& what) const {
  return fail(ErrorCode::invalid_input, file_ + ": " + path_ + (path_.empty() ? "" : " ") + what);
}

const json::value* find_value(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(json::string_view(key.data(), key.size()));
  return value && !value->is_null() ? value : nullptr;
}

Result<const json::object*> object_of(const json::value& value, const JsonPlace& place) {
  if (const auto* object = value.if_object()) return object;
  return place.refuse("must be an object");
}

Result<bool> bool_at(const json::object& object, std::string_view key, const JsonPlace& place, std::optional<bool> otherwise) {
  const auto* value = find_value(object, key);
  if (!value && otherwise) return *otherwise;
  if (value && value->is_bool()) return value->get_bool();
  return place.key(key).refuse(value ? "must be true or false" : "is missing; it must be true or false");
}

Result<std::string> string_at(const json::object& object, std::string_view key, const JsonPlace& place, std::optional<std::string> otherwise) {
  const auto* value = find_value(object, key);
  if (!value && otherwise) return *otherwise;
  if (value && value->is_string()) return std::string(value->get_string());
  return place.key(key).refuse(value ? "must be a string" : "is missing; it must be a string");
}

Result<Pattern> pattern_at(const json::object& object, const JsonPlace& place) {
  const auto inner = place.key("pattern");
  const auto* value = find_value(object, "pattern");
  const auto* pattern = value ? value->if_object() : nullptr;
  for (const char* kind : {"String", "Regex"}) {
    const auto* text = pattern && pattern->size() == 1 ? pattern->if_contains(kind) : nullptr;
    if (!text || !text->is_string()) continue;
    if (text->get_string().size() > kMaxPatternBytes) return inner.refuse("has more than " + std::to_string(kMaxPatternBytes) + " bytes");
    return Pattern{kind[0] == 'R', std::string(text->get_string())};
  }
  return inner.refuse(R"(must be {"String": "..."} or {"Regex": "..."})");
}

}  // namespace pipestill::huggingface
