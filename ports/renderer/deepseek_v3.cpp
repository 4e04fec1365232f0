#include "ports/renderer/deepseek_v3.hpp"

#include <algorithm>
#include <utility>

#include "ports/printable.hpp"
#include "ports/renderer/answer_text.hpp"
#include "ports/renderer/python_json.hpp"
#include "ports/renderer/tools.hpp"

namespace pipestill {
namespace {

constexpr std::string_view kSentenceEnd = "<｜end▁of▁sentence｜>", kAssistantHeader = "<｜Assistant｜>",
                           kCallsBegin = "<｜tool▁calls▁begin｜>", kCallsEnd = "<｜tool▁calls▁end｜>", kCallBegin = "<｜tool▁call▁begin｜>",
                           kCallSeparator = "<｜tool▁sep｜>", kCallEnd = "<｜tool▁call▁end｜>";

const char* deepseek_name(DeepSeekV3Renderer::Variant variant) {
  return variant == DeepSeekV3Renderer::Variant::thinking ? "deepseekv3_thinking" : "deepseekv3";
}

bool follows_tool(const RenderContext& context) { return context.previous && context.previous->role == "tool"; }

bool says_thinking(const MessageContent& content) {
  if (const auto* text = content.if_text()) return text->find(kThinkOpen) != std::string::npos;
  return std::ranges::any_of(*content.if_parts(), [](const ContentPart& part) { return std::holds_alternative<ThinkingPart>(part); });
}

MessageContent without_thinking(const MessageContent& content) {
  if (const auto* text = content.if_text()) return without_think_blocks(*text);
  auto parts = *content.if_parts();
  std::erase_if(parts, [](const ContentPart& part) { return std::holds_alternative<ThinkingPart>(part); });
  return parts;
}

/// The regular expression \w, for names: letters of other scripts are not told from their other characters.
bool is_word(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
  });
}

/// Adds the calls that a section holds; whether there was one.
bool take_calls(std::string_view section, Message& message) {
  bool has_found = false;
  for (std::size_t at = section.find(kCallBegin); at != std::string_view::npos; at = section.find(kCallBegin, at)) {
    const auto name_begin = at + kCallBegin.size(), name_end = section.find(kCallSeparator, name_begin);
    if (name_end == std::string_view::npos) break;
    const auto name = section.substr(name_begin, name_end - name_begin);
    const auto body_begin = name_end + kCallSeparator.size(), body_end = section.find(kCallEnd, body_begin);
    if (body_end == std::string_view::npos) break;
    if (!is_word(name)) {
      at = name_begin;
      continue;
    }
    const auto end = body_end + kCallEnd.size();
    const auto arguments = python_strip(section.substr(body_begin, body_end - body_begin));
    if (const auto json = PythonJson::parse(arguments); json) {
      message.tool_calls.push_back({std::string(name), std::string(arguments)});
    } else {
      message.unparsed_tool_calls.push_back({std::string(section.substr(at, end - at)), json.error().message});
    }
    has_found = true;
    at = end;
  }
  return has_found;
}

/// The text without its sections of tool calls, and without the white space before them and at both ends.
std::string without_call_sections(std::string_view text) {
  std::string rest;
  std::size_t at = 0;
  while (const auto section = find_block(text, kCallsBegin, kCallsEnd, at)) {
    rest += python_rstrip(text.substr(at, section->begin - at));
    at = section->end;
  }
  rest += text.substr(at);
  return std::string(python_strip(rest));
}

}  // namespace

Result<std::shared_ptr<const Renderer>> DeepSeekV3Renderer::make(Variant variant, std::shared_ptr<const Tokenizer> tokenizer,
                                                                 const RendererOptions& options) {
  const char* name = deepseek_name(variant);
  if (auto known = check_options(options, {.strip_thinking_from_history = true, .system_role_as_user = true}, name); !known) {
    return fail(std::move(known).error());
  }
  Marks marks{};
  const std::pair<Token Marks::*, std::string_view> needed[] = {{&Marks::bos, "<｜begin▁of▁sentence｜>"},
                                                                {&Marks::end, kSentenceEnd},
                                                                {&Marks::think_open, kThinkOpen},
                                                                {&Marks::think_close, kThinkClose}};
  for (const auto& [mark, text] : needed) {
    const auto token = needed_token(*tokenizer, text, name);
    if (!token) return fail(token.error());
    marks.*mark = *token;
  }
  return std::shared_ptr<const Renderer>(new DeepSeekV3Renderer(variant, std::move(tokenizer), marks,
                                                                options.strip_thinking_from_history.value_or(true),
                                                                options.system_role_as_user.value_or(false)));
}

Description DeepSeekV3Renderer::describe(Variant variant) {
  return {.name = deepseek_name(variant),
          .summary = variant == Variant::thinking
                         ? "DeepSeek-V3.1's chat format, with thinking"
                         : "DeepSeek-V3.1's chat format, without thinking (also called deepseekv3_disable_thinking)"};
}

std::string DeepSeekV3Renderer::name() const { return deepseek_name(variant_); }

std::string DeepSeekV3Renderer::answer(const Message& message, const RenderContext& context) const {
  const bool is_headed = !follows_tool(context);
  const auto content = variant_ == Variant::no_thinking && is_headed ? without_thinking(message.content) : message.content;
  std::string text;
  if (variant_ == Variant::thinking && is_headed && context.is_last && !content.is_empty() && !says_thinking(content))
    text = "<think></think>";
  if (const auto* whole = content.if_text()) {
    text += *whole;
  } else {
    const bool is_stripped = strips_ && !context.is_last && message.tool_calls.empty();
    for (const auto& part : *content.if_parts()) {
      if (const auto* said = std::get_if<TextPart>(&part)) {
        text += said->text;
      } else if (!is_stripped) {
        text += "<think>" + std::get<ThinkingPart>(part).thinking + "</think>";
      }
    }
  }
  if (!message.tool_calls.empty()) {
    text += kCallsBegin;
    for (const auto& call : message.tool_calls) {
      text.append(kCallBegin).append(call.name).append(kCallSeparator).append(call.arguments).append(kCallEnd);
    }
    text += kCallsEnd;
  }
  if (!content.is_empty()) text += kSentenceEnd;
  return text;
}

Result<RenderedMessage> DeepSeekV3Renderer::render(const Message& message, const RenderContext& context) const {
  std::string header, output;
  if (message.role == "assistant") {
    if (!follows_tool(context)) {
      const bool closes_thinking = variant_ == Variant::no_thinking || (strips_ && !context.is_last);
      header = std::string(kAssistantHeader).append(closes_thinking ? kThinkClose : "");
    }
    output = answer(message, context);
  } else {
    auto content = plain_text_of(message, name());
    if (!content) return fail(std::move(content).error());
    output = *std::move(content);
    if (message.role == "user" || (message.role == "system" && context.index > 0 && system_as_user_)) {
      header = "<｜User｜>";
    } else if (message.role == "tool") {
      header = "<｜tool▁output▁begin｜>";
      output += "<｜tool▁output▁end｜>";
    } else if (message.role != "system") {
      return fail(ErrorCode::invalid_input,
                  "the renderer " + name() + " has no role \"" + printable(message.role) + "\"; accepted: system, user, assistant, tool");
    } else if (context.index > 0) {
      return fail(ErrorCode::invalid_input,
                  "the renderer " + name() + " takes a system message only as the first one, and this one is message " +
                      std::to_string(context.index + 1) + "; the option system_role_as_user writes it as the user's");
    }
  }
  RenderedMessage rendered;
  if (!header.empty()) {
    auto chunk = encode(header, SpecialText::recognise);
    if (!chunk) return fail(std::move(chunk).error());
    rendered.header = *std::move(chunk);
  }
  auto chunk = encode(output, SpecialText::recognise);
  if (!chunk) return fail(std::move(chunk).error());
  rendered.output.push_back(*std::move(chunk));
  return rendered;
}

std::string DeepSeekV3Renderer::prefill(const std::string& given, const RenderContext& context) const {
  return variant_ == Variant::thinking && !follows_tool(context) ? std::string(kThinkOpen) + given : given;
}

Result<std::vector<Message>> DeepSeekV3Renderer::tools_prefix(const std::vector<ToolSpec>& tools, const std::string& system_prompt) const {
  if (variant_ == Variant::thinking) return fail(ErrorCode::invalid_input, "deepseekv3_thinking has no tools: DeepSeek's format has them without thinking only; take deepseekv3");
  std::string text = system_prompt + "\n\n## Tools\nYou have access to the following tools:\n\n";
  for (const auto& tool : tools) {
    if (!tool.description || !tool.parameters())
      return fail(ErrorCode::invalid_input, "the renderer deepseekv3 needs a `description` and `parameters` of every tool; " + printable(tool.name) + " lacks one");
    if (&tool != &tools.front()) text += "\n";
    text += "### " + tool.name + "\nDescription: " + *tool.description + "\n\nParameters: " + tool.parameters()->dumps();
  }
  text +=
      "\n\nIMPORTANT: ALWAYS adhere to this exact format for tool use:\n"
      "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>tool_call_name<｜tool▁sep｜>tool_call_arguments<｜tool▁call▁end｜><｜tool▁calls▁end｜>\n\n"
      "Where:\n- `tool_call_name` must be an exact match to one of the available tools\n"
      "- `tool_call_arguments` must be valid JSON that strictly follows the tool's Parameters Schema\n"
      "- For multiple tool calls, chain them directly without separators or spaces";
  return std::vector<Message>{{.role = "system", .content = std::move(text)}};
}

Result<ParsedResponse> DeepSeekV3Renderer::parse_response(const std::vector<Token>& tokens) const {
  auto whole = tokens;
  if (variant_ == Variant::thinking && !tokens.empty() && tokens.front() != marks_.think_open &&
      std::ranges::find(tokens, marks_.think_close) != tokens.end()) {
    whole.insert(whole.begin(), marks_.think_open);
  }
  auto stopped = text_until(marks_.end, whole);
  if (!stopped) return fail(std::move(stopped).error());
  Message message{.role = "assistant"};
  if (stopped->termination == Termination::malformed) {
    message.content = std::move(stopped->text);
    return ParsedResponse{std::move(message), stopped->termination};
  }
  if (const auto section = find_block(stopped->text, kCallsBegin, kCallsEnd); section && take_calls(section->body, message)) {
    stopped->text = without_call_sections(stopped->text);
  }
  message.content = with_think_blocks(stopped->text);
  return ParsedResponse{std::move(message), stopped->termination};
}

}  // namespace pipestill
