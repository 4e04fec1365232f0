#include "ports/renderer/message_json.hpp"

#include <algorithm>
#include <boost/json/array.hpp>
#include <initializer_list>
#include <utility>

#include "ports/printable.hpp"

namespace pipestill {
namespace {

namespace json = boost::json;

std::string text_in(const json::value& value) {
  const auto& text = value.get_string();
  return {text.data(), text.size()};
}

/// An object, its place in the document, and what of it may be there.
class ObjectReader {
 public:
  static Result<ObjectReader> open(const json::value& value, std::string place, std::initializer_list<std::string_view> keys,
                                   OtherKeys other_keys = OtherKeys::refuse) {
    const auto* object = value.if_object();
    if (!object) return fail(ErrorCode::invalid_input, place + " is not an object");
    if (other_keys == OtherKeys::ignore) return ObjectReader(*object, std::move(place));
    for (const auto& member : *object) {
      const std::string_view key(member.key().data(), member.key().size());
      if (std::ranges::find(keys, key) != keys.end()) continue;
      std::string names;
      for (const auto known : keys) names += (names.empty() ? "" : ", ") + std::string(known);
      return fail(ErrorCode::invalid_input, place + " has the unknown key \"" + printable(key) + "\"; accepted: " + names);
    }
    return ObjectReader(*object, std::move(place));
  }

  /// Null where it is missing or null.
  [[nodiscard]] const json::value* find(const char* key) const {
    const auto* value = object_->if_contains(key);
    return value && !value->is_null() ? value : nullptr;
  }
  [[nodiscard]] std::string place(const char* key) const { return place_ + "." + key; }

  [[nodiscard]] Result<std::optional<std::string>> text(const char* key) const {
    const auto* value = find(key);
    if (!value) return std::optional<std::string>();
    if (!value->is_string()) return fail(ErrorCode::invalid_input, place(key) + " is not a string");
    return std::optional(text_in(*value));
  }
  [[nodiscard]] Result<std::string> needed_text(const char* key) const {
    auto found = text(key);
    if (!found) return fail(std::move(found).error());
    if (!*found) return fail(ErrorCode::invalid_input, place(key) + " is missing; a string is needed");
    return **std::move(found);
  }

 private:
  ObjectReader(const json::object& object, std::string place) : object_(&object), place_(std::move(place)) {}
  const json::object* object_;
  std::string place_;
};

/// read(element, place) for every element of a list, into `out`.
template <class T, class Read>
Result<void> read_list(const json::value& value, const std::string& place, std::size_t most, std::vector<T>& out, const Read& read) {
  const auto* list = value.if_array();
  if (!list) return fail(ErrorCode::invalid_input, place + " is not a list");
  if (list->size() > most) {
    return fail(ErrorCode::invalid_input,
                place + " has " + std::to_string(list->size()) + " elements; at most " + std::to_string(most) + " are read");
  }
  for (std::size_t i = 0; i < list->size(); ++i) {
    auto element = read((*list)[i], place + "[" + std::to_string(i) + "]");
    if (!element) return fail(std::move(element).error());
    out.push_back(*std::move(element));
  }
  return {};
}

Result<ContentPart> read_part(const json::value& value, const std::string& place) {
  const auto* object = value.if_object();
  const auto* type = object ? object->if_contains("type") : nullptr;
  const auto kind = type && type->is_string() ? text_in(*type) : "";
  if (kind != "text" && kind != "thinking") {
    return fail(ErrorCode::invalid_input, place + (kind.empty() ? " is not a part with a `type`" : ".type is \"" + printable(kind) + "\"") +
                                              "; accepted: text, thinking");
  }
  const auto reader = ObjectReader::open(value, place, {"type", kind});
  if (!reader) return fail(reader.error());
  auto text = reader->needed_text(kind.c_str());
  if (!text) return fail(std::move(text).error());
  if (kind == "text") return TextPart{*std::move(text)};
  return ThinkingPart{*std::move(text)};
}

Result<MessageContent> read_content(const json::value& value, const std::string& place) {
  if (value.is_string()) return MessageContent(text_in(value));
  if (!value.is_array()) return fail(ErrorCode::invalid_input, place + " is neither a string nor a list of parts");
  std::vector<ContentPart> parts;
  if (auto read = read_list(value, place, kMaxMessageElements, parts, read_part); !read) return fail(std::move(read).error());
  return MessageContent(std::move(parts));
}

Result<ToolCall> read_tool_call(const json::value& value, const std::string& place) {
  const auto call = ObjectReader::open(value, place, {"type", "id", "function"});
  if (!call) return fail(call.error());
  const auto type = call->text("type");
  if (!type) return fail(type.error());
  if (type->value_or("function") != "function") {
    return fail(ErrorCode::invalid_input, call->place("type") + " is \"" + printable(**type) + "\"; accepted: function");
  }
  auto id = call->text("id");
  if (!id) return fail(std::move(id).error());
  const auto* function = call->find("function");
  if (!function)
    return fail(ErrorCode::invalid_input, call->place("function") + " is missing; an object with `name` and `arguments` is needed");
  const auto reader = ObjectReader::open(*function, call->place("function"), {"name", "arguments"});
  if (!reader) return fail(reader.error());
  auto name = reader->needed_text("name");
  if (!name) return fail(std::move(name).error());
  auto arguments = reader->needed_text("arguments");
  if (!arguments) return fail(std::move(arguments).error());
  return ToolCall{*std::move(name), *std::move(arguments), *std::move(id)};
}

Result<UnparsedToolCall> read_unparsed(const json::value& value, const std::string& place) {
  const auto reader = ObjectReader::open(value, place, {"raw_text", "error"});
  if (!reader) return fail(reader.error());
  auto raw = reader->needed_text("raw_text");
  if (!raw) return fail(std::move(raw).error());
  auto error = reader->needed_text("error");
  if (!error) return fail(std::move(error).error());
  return UnparsedToolCall{*std::move(raw), *std::move(error)};
}

}  // namespace

Result<Message> message_from_json(const json::value& value, const std::string& place, OtherKeys other_keys) {
  const auto reader = ObjectReader::open(
      value, place, {"role", "content", "tool_calls", "unparsed_tool_calls", "trainable", "tool_call_id", "name"}, other_keys);
  if (!reader) return fail(reader.error());
  Message message;
  auto role = reader->needed_text("role");
  if (!role) return fail(std::move(role).error());
  message.role = *std::move(role);
  if (const auto* calls = reader->find("tool_calls")) {
    auto read = read_list(*calls, reader->place("tool_calls"), kMaxMessageElements, message.tool_calls, read_tool_call);
    if (!read) return fail(std::move(read).error());
  }
  if (const auto* content = reader->find("content")) {
    auto said = read_content(*content, reader->place("content"));
    if (!said) return fail(std::move(said).error());
    message.content = *std::move(said);
  } else if (message.tool_calls.empty()) {
    return fail(ErrorCode::invalid_input, reader->place("content") + " is missing; a string or a list of parts is needed");
  }
  if (const auto* calls = reader->find("unparsed_tool_calls")) {
    auto read = read_list(*calls, reader->place("unparsed_tool_calls"), kMaxMessageElements, message.unparsed_tool_calls, read_unparsed);
    if (!read) return fail(std::move(read).error());
  }
  if (const auto* trainable = reader->find("trainable")) {
    if (!trainable->is_bool()) return fail(ErrorCode::invalid_input, reader->place("trainable") + " is neither true nor false");
    message.trainable = trainable->get_bool();
  }
  auto id = reader->text("tool_call_id");
  if (!id) return fail(std::move(id).error());
  message.tool_call_id = *std::move(id);
  auto name = reader->text("name");
  if (!name) return fail(std::move(name).error());
  message.name = *std::move(name);
  return message;
}

Result<std::vector<Message>> messages_from_json(const json::value& value, const std::string& place, OtherKeys other_keys) {
  std::vector<Message> messages;
  const auto read_one = [other_keys](const json::value& one, const std::string& at) { return message_from_json(one, at, other_keys); };
  if (auto read = read_list(value, place, kMaxMessages, messages, read_one); !read) return fail(std::move(read).error());
  return messages;
}

json::object message_to_json(const Message& message) {
  json::object out{{"role", message.role}};
  if (const auto* text = message.content.if_text()) {
    out["content"] = *text;
  } else {
    json::array parts;
    for (const auto& part : *message.content.if_parts()) {
      if (const auto* said = std::get_if<TextPart>(&part)) {
        parts.push_back(json::object{{"type", "text"}, {"text", said->text}});
      } else {
        parts.push_back(json::object{{"type", "thinking"}, {"thinking", std::get<ThinkingPart>(part).thinking}});
      }
    }
    out["content"] = std::move(parts);
  }
  if (!message.tool_calls.empty()) {
    json::array calls;
    for (const auto& call : message.tool_calls) {
      calls.push_back(json::object{{"type", "function"},
                                   {"id", call.id ? json::value(*call.id) : json::value(nullptr)},
                                   {"function", json::object{{"name", call.name}, {"arguments", call.arguments}}}});
    }
    out["tool_calls"] = std::move(calls);
  }
  if (!message.unparsed_tool_calls.empty()) {
    json::array calls;
    for (const auto& call : message.unparsed_tool_calls) calls.push_back(json::object{{"raw_text", call.raw_text}, {"error", call.error}});
    out["unparsed_tool_calls"] = std::move(calls);
  }
  if (message.trainable) out["trainable"] = *message.trainable;
  if (message.tool_call_id) out["tool_call_id"] = *message.tool_call_id;
  if (message.name) out["name"] = *message.name;
  return out;
}

}  // namespace pipestill
