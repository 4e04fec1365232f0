#include "ports/renderer/answer_text.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace pipestill {
namespace {

// The characters for which Python's str.isspace() is true (Unicode 15), as UTF-8.
constexpr std::array<std::string_view, 29> kSpaces{"\t",           "\n",           "\v",           "\f",           "\r",
                                                   "\x1c",         "\x1d",         "\x1e",         "\x1f",         " ",
                                                   "\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x81",
                                                   "\xe2\x80\x82", "\xe2\x80\x83", "\xe2\x80\x84", "\xe2\x80\x85", "\xe2\x80\x86",
                                                   "\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89", "\xe2\x80\x8a", "\xe2\x80\xa8",
                                                   "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80"};

}  // namespace

std::string_view python_lstrip(std::string_view text) {
  for (;;) {
    const auto space = std::ranges::find_if(kSpaces, [text](std::string_view s) { return text.starts_with(s); });
    if (space == kSpaces.end()) return text;
    text.remove_prefix(space->size());
  }
}

std::string_view python_rstrip(std::string_view text) {
  for (;;) {
    const auto space = std::ranges::find_if(kSpaces, [text](std::string_view s) { return text.ends_with(s); });
    if (space == kSpaces.end()) return text;
    text.remove_suffix(space->size());
  }
}

std::string_view python_strip(std::string_view text) { return python_rstrip(python_lstrip(text)); }

std::string_view lstrip_newlines(std::string_view text) { return text.substr(std::min(text.find_first_not_of('\n'), text.size())); }

std::string_view strip_newlines(std::string_view text) {
  text = lstrip_newlines(text);
  return text.substr(0, text.find_last_not_of('\n') + 1);  // npos + 1 is 0
}

std::optional<TextBlock> find_block(std::string_view text, std::string_view open, std::string_view close, std::size_t from) {
  const auto begin = text.find(open, from);
  if (begin == std::string_view::npos) return std::nullopt;
  const auto body = begin + open.size(), end = text.find(close, body);
  if (end == std::string_view::npos) return std::nullopt;
  return TextBlock{begin, end + close.size(), text.substr(body, end - body)};
}

MessageContent with_think_blocks(std::string_view text) {
  if (text.find(kThinkOpen) == std::string_view::npos) return std::string(text);
  std::vector<ContentPart> parts;
  const auto add_text = [&](std::string_view piece) {
    if (!piece.empty()) parts.emplace_back(TextPart{std::string(piece)});
  };
  std::size_t at = 0;
  while (const auto block = find_block(text, kThinkOpen, kThinkClose, at)) {
    add_text(text.substr(at, block->begin - at));
    if (!block->body.empty()) parts.emplace_back(ThinkingPart{std::string(block->body)});
    at = block->end;
  }
  add_text(text.substr(at));
  return parts;
}

std::string without_think_blocks(std::string_view text) {
  std::string rest;
  std::size_t at = 0;
  while (const auto block = find_block(text, kThinkOpen, kThinkClose, at)) {
    rest += text.substr(at, block->begin - at);
    at = block->end;
  }
  rest += text.substr(at);
  return rest;
}

}  // namespace pipestill
