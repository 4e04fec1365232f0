#include "ports/dataset/conversation.hpp"

#include <boost/json/value.hpp>
#include <string>
#include <utility>

#include "ports/renderer/message_json.hpp"

namespace pipestill {
namespace {

namespace json = boost::json;


const json::string* string_at(const json::object& object, json::string_view key) {
  const json::value* value = object.if_contains(key);
  return value ? value->if_string() : nullptr;
}

const json::value* message_list(const DatasetRow& row) {
  const json::value* value = row.fields.if_contains("messages");
  return value && value->is_array() ? value : nullptr;
}

/// Datasets keep notes of their own in a message as in a row. A tool's keys mean nothing to a format elsewhere.
Result<std::vector<Message>> messages_of(const json::value& list, const DatasetRow& row) {
  auto messages = messages_from_json(list, row.where + ": messages", OtherKeys::ignore);
  if (!messages) return messages;
  for (auto& message : *messages) {
    if (message.role == "tool") continue;
    message.name.reset();
    message.tool_call_id.reset();
  }
  return messages;
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
  if (const auto* list = message_list(row)) {
    auto messages = messages_of(*list, row);
    if (!messages) return messages;
    for (auto& message : *messages) message.trainable.reset();  // nobody is trained on a prompt
    return messages;
  }
  if (const auto* text = prompt_text(row.fields)) return std::vector<Message>{{"user", std::string(text->data(), text->size())}};
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

Result<std::vector<ToolSpec>> declared_tools(const DatasetRow& row) {
  const auto* tools = row.fields.if_contains("tools");
  if (!tools) return std::vector<ToolSpec>();
  return tools_from_json(*tools, row.where + ": tools");
}

}  // namespace pipestill
