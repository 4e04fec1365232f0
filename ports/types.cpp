#include "ports/types.hpp"

#include <algorithm>
#include <utility>

namespace pipestill {

ModelInput ModelInput::from_ints(std::vector<Token> tokens) { return {{EncodedTextChunk{std::move(tokens)}}}; }

std::size_t ModelInput::length() const {
  std::size_t n = 0;
  for (const auto& chunk : chunks) n += chunk.tokens.size();
  return n;
}

std::vector<Token> ModelInput::to_ints() const {
  std::vector<Token> all;
  all.reserve(length());
  for (const auto& chunk : chunks) all.insert(all.end(), chunk.tokens.begin(), chunk.tokens.end());
  return all;
}

std::string MessageContent::said() const {
  if (const auto* text = if_text()) return *text;
  std::string all;
  for (const auto& part : *if_parts()) {
    if (const auto* text = std::get_if<TextPart>(&part)) all += text->text;
  }
  return all;
}

bool MessageContent::is_empty() const { return if_text() ? if_text()->empty() : if_parts()->empty(); }

std::size_t MessageContent::bytes() const {
  if (const auto* text = if_text()) return text->size();
  std::size_t n = 0;
  for (const auto& part : *if_parts()) {
    const auto* text = std::get_if<TextPart>(&part);
    n += text ? text->text.size() : std::get<ThinkingPart>(part).thinking.size();
  }
  return n;
}

std::size_t text_bytes(const Message& message) {
  std::size_t n = message.role.size() + message.content.bytes();
  for (const auto& call : message.tool_calls) n += call.name.size() + call.arguments.size() + call.id.value_or("").size();
  for (const auto& call : message.unparsed_tool_calls) n += call.raw_text.size() + call.error.size();
  return n + message.tool_call_id.value_or("").size() + message.name.value_or("").size();
}

std::size_t weighted_positions(const TensorData& weights) {
  const auto count = [&weights](const auto& values) {
    const auto width = weights.shape.size() == 2 ? static_cast<std::size_t>(std::max<std::int64_t>(weights.shape[1], 1)) : 1;
    std::size_t positions = 0;
    for (std::size_t i = 0; i < values.size(); i += width) {
      const auto row = values.begin() + static_cast<std::ptrdiff_t>(i);
      const auto end = row + static_cast<std::ptrdiff_t>(std::min(width, values.size() - i));
      positions += std::any_of(row, end, [](auto w) { return w != 0; }) ? 1 : 0;
    }
    return positions;
  };
  return std::visit(count, weights.data);
}

}  // namespace pipestill
