#include "ports/conversation_digest.hpp"

#include <string>
#include <variant>

namespace pipestill {
namespace {

void add_text_if_any(Sha256& hash, const std::optional<std::string>& text) {
  hash.number(text ? 1 : 0);
  if (text) hash.field(*text);
}

void add_content(Sha256& hash, const MessageContent& content) {
  if (const auto* text = content.if_text()) {
    hash.number(0).field(*text);
    return;
  }
  hash.number(1).number(content.if_parts()->size());
  for (const auto& part : *content.if_parts()) {
    const auto* said = std::get_if<TextPart>(&part);
    hash.number(said ? 0 : 1).field(said ? said->text : std::get<ThinkingPart>(part).thinking);
  }
}

void add_message(Sha256& hash, const Message& message) {
  hash.field(message.role);
  add_content(hash, message.content);
  hash.number(message.tool_calls.size());
  for (const auto& call : message.tool_calls) {
    hash.field(call.name).field(call.arguments);
    add_text_if_any(hash, call.id);
  }
  hash.number(message.unparsed_tool_calls.size());
  for (const auto& call : message.unparsed_tool_calls) hash.field(call.raw_text).field(call.error);
  hash.number(message.trainable ? (*message.trainable ? 2 : 1) : 0);
  add_text_if_any(hash, message.tool_call_id);
  add_text_if_any(hash, message.name);
}

}  // namespace

Sha256Digest conversation_digest(std::span<const Message> messages, std::span<const ToolSpec> tools) {
  Sha256 hash;
  hash.field("pipestill conversation 1").number(messages.size());
  for (const auto& message : messages) add_message(hash, message);
  hash.number(tools.size());
  for (const auto& tool : tools) hash.field(tool.function.dumps());
  return hash.finish();
}

}  // namespace pipestill
