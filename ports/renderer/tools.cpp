#include "ports/renderer/tools.hpp"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cmath>
#include <iterator>
#include <utility>

#include "ports/renderer/assembly.hpp"

namespace pipestill {
namespace {

/// Whether a number in it is beyond 64 bits: an integer that was, and became a double, is not known any more.
bool has_huge_number(const boost::json::value& value) {
  if (const auto* number = value.if_double()) return std::abs(*number) >= 0x1p63;
  if (const auto* list = value.if_array()) return std::ranges::any_of(*list, has_huge_number);
  const auto* object = value.if_object();
  return object && std::ranges::any_of(*object, [](const auto& member) { return has_huge_number(member.value()); });
}

Result<ToolSpec> function_from_json(const boost::json::value& value, const std::string& place) {
  const auto refuse = [&](const std::string& what) { return fail(ErrorCode::invalid_input, place + what); };
  const auto* object = value.if_object();
  if (!object) return refuse(" is not an object with `name`, `description` and `parameters`");
  if (object->contains("type") || object->contains("function")) {
    return refuse(R"( is neither a function, which has no `type` and no `function`, nor {"type":"function","function"})");
  }
  const auto* name = object->if_contains("name");
  if (!name || !name->is_string() || name->get_string().empty()) return refuse(".name is missing, empty or not a string");
  const auto* description = object->if_contains("description");
  if (description && !description->is_string() && !description->is_null()) return refuse(".description is not a string");
  const auto* parameters = object->if_contains("parameters");
  if (parameters && !parameters->is_object() && !parameters->is_null()) return refuse(".parameters is not an object, a JSON schema");
  if (has_huge_number(value)) return refuse(" holds a number of more than 64 bits, which cannot be written as it stands; say it in a string");
  auto function = PythonJson::parse(boost::json::serialize(value));
  if (!function) return refuse(": " + function.error().message);
  ToolSpec tool{*std::move(function), std::string(name->get_string())};
  if (description && description->is_string()) tool.description = std::string(description->get_string());
  return tool;
}

Result<ToolSpec> tool_from_json(const boost::json::value& value, const std::string& place) {
  const auto* object = value.if_object();
  const auto* type = object && object->size() == 2 ? object->if_contains("type") : nullptr;
  const auto* function = type && type->is_string() && type->get_string() == "function" ? object->if_contains("function") : nullptr;
  return function ? function_from_json(*function, place + ".function") : function_from_json(value, place);
}

}  // namespace

Result<std::vector<ToolSpec>> tools_from_json(const boost::json::value& value, const std::string& place) {
  if (value.is_null()) return std::vector<ToolSpec>();
  const auto* list = value.if_array();
  if (!list) return fail(ErrorCode::invalid_input, place + " is not a list of functions");
  if (list->size() > kMaxTools) return fail(ErrorCode::invalid_input, place + " holds more than " + std::to_string(kMaxTools) + " functions");
  std::vector<ToolSpec> tools;
  for (std::size_t i = 0; i < list->size(); ++i) {
    auto tool = tool_from_json((*list)[i], place + "[" + std::to_string(i) + "]");
    if (!tool) return fail(std::move(tool).error());
    tools.push_back(*std::move(tool));
  }
  return tools;
}

Result<std::vector<Message>> with_tools(const Renderer& renderer, const std::vector<ToolSpec>& tools, std::vector<Message> messages) {
  if (tools.empty()) return messages;
  const bool has_system = !messages.empty() && messages.front().role == "system";
  std::string system_prompt;
  if (has_system) {
    auto said = plain_text_of(messages.front(), renderer.name());
    if (!said) return fail(std::move(said).error());
    system_prompt = *std::move(said);
  }
  auto conversation = renderer.tools_prefix(tools, system_prompt);
  if (!conversation) return conversation;
  // In a marked conversation the mark of the message that they take the place of is theirs.
  if (!messages.empty() && messages.front().trainable) {
    for (auto& message : *conversation) message.trainable = has_system && *messages.front().trainable;
  }
  conversation->insert(conversation->end(), std::make_move_iterator(messages.begin() + (has_system ? 1 : 0)), std::make_move_iterator(messages.end()));
  return conversation;
}

}  // namespace pipestill
