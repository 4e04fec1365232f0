#include "ports/dataset/conversation.hpp"

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>
#include <string>
#include <utility>

namespace pipestill {
namespace {

namespace json = boost::json;

std::string text_of(const json::string& text) { return {text.data(), text.size()}; }

const json::string* string_at(const json::object& object, json::string_view key) {
  const json::value* value = object.if_contains(key);
  return value ? value->if_string() : nullptr;
}

const json::string* text_content(const json::object& message) {
  if (const auto* text = string_at(message, "content")) return text;
  const json::value* content = message.if_contains("content");
  const json::array* parts = content ? content->if_array() : nullptr;
  if (!parts || parts->size() != 1 || !parts->front().is_object()) return nullptr;
  const json::object& part = parts->front().get_object();
  const auto* type = string_at(part, "type");
  return type && *type == "text" ? string_at(part, "text") : nullptr;
}

Result<std::vector<Message>> messages_of(const json::array& list, const DatasetRow& row) {
  std::vector<Message> messages;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string place = row.where + ": messages[" + std::to_string(i) + "]";
    const json::object* message = list[i].if_object();
    if (!message) return fail(ErrorCode::invalid_input, place + " is not an object with `role` and `content`");
    const auto* role = string_at(*message, "role");
    if (!role) return fail(ErrorCode::invalid_input, place + ".role is missing or not a string");
    const auto* content = text_content(*message);
    if (!content) return fail(ErrorCode::invalid_input, place + ".content is neither a string nor a list of one text part");
    messages.push_back({text_of(*role), text_of(*content)});
  }
  return messages;
}

const json::array* message_list(const DatasetRow& row) {
  const json::value* value = row.fields.if_contains("messages");
  return value ? value->if_array() : nullptr;
}

const json::string* prompt_text(const json::object& fields) {
  for (const char* key : {"prompt", "instruction", "input", "text"}) {
    if (const auto* text = string_at(fields, key)) return text;
  }
  const json::value* input = fields.if_contains("input");
  if (!input || !input->is_object()) return nullptr;
  for (const char* key : {"problem", "question"}) {
    if (const auto* text = string_at(input->get_object(), key)) return text;
  }
  return nullptr;
}

}  // namespace

Result<std::vector<Message>> prompt_conversation(const DatasetRow& row) {
  if (const auto* list = message_list(row)) return messages_of(*list, row);
  if (const auto* text = prompt_text(row.fields)) return std::vector<Message>{{"user", text_of(*text)}};
  return fail(ErrorCode::invalid_input, row.where +
                                            ": no conversation; expected a list `messages`, or a string `prompt`, `instruction`, `input`, "
                                            "`text`, `input.problem` or `input.question`");
}

Result<std::vector<Message>> supervised_conversation(const DatasetRow& row) {
  const auto* list = message_list(row);
  if (!list) return fail(ErrorCode::invalid_input, row.where + ": supervised training needs a list `messages`");
  auto messages = messages_of(*list, row);
  if (messages && (messages->empty() || messages->back().role != "assistant")) {
    return fail(ErrorCode::invalid_input, row.where + ": the last of `messages` must be the assistant's, for it is the target");
  }
  return messages;
}

}  // namespace pipestill
