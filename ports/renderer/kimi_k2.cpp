#include "ports/renderer/kimi_k2.hpp"

#include <algorithm>
#include <utility>

#include "ports/renderer/answer_text.hpp"
#include "ports/renderer/python_json.hpp"
#include "ports/renderer/tools.hpp"

namespace pipestill {
namespace {

constexpr std::string_view kCallArguments = "<|tool_call_argument_begin|>", kSystemHeader = "<|im_system|>", kMiddle = "<|im_middle|>",
                           kMessageEnd = "<|im_end|>";
constexpr std::string_view kToolCallBegin = "<|tool_call_begin|>", kToolCallEnd = "<|tool_call_end|>",
                           kCallSectionBegin = "<|tool_calls_section_begin|>", kCallSectionEnd = "<|tool_calls_section_end|>";

constexpr const char* kMoonshotSystem = "You are Kimi, an AI assistant created by Moonshot AI.";

std::string kimi_answer(const Message& message, bool keeps_thinking) {
  std::string thinking;
  if (const auto* parts = message.content.if_parts(); parts && keeps_thinking) {
    for (const auto& part : *parts) {
      if (const auto* thought = std::get_if<ThinkingPart>(&part)) thinking += thought->thinking;
    }
  }
  auto text = "<think>" + thinking + "</think>" + message.content.said();
  if (message.tool_calls.empty()) return text;
  text += kCallSectionBegin;
  for (std::size_t i = 0; i < message.tool_calls.size(); ++i) {
    const auto& call = message.tool_calls[i];
    const auto id = call.id && !call.id->empty() ? *call.id : "functions." + call.name + ":" + std::to_string(i);
    text.append(kToolCallBegin).append(id).append(kCallArguments).append(call.arguments).append(kToolCallEnd);
  }
  return text.append(kCallSectionEnd);
}

/// `functions.NAME:0` is what calls are called: something without `<`, a colon and digits. NAME, or empty if it is not of this form.
std::string_view called_name(std::string_view id) {
  const auto digits = id.find_last_not_of("0123456789");
  if (digits == std::string_view::npos || digits == 0 || digits + 1 == id.size() || id[digits] != ':') return {};
  if (id.find('<') != std::string_view::npos) return {};
  auto name = id.substr(0, id.find(':'));
  if (const auto dot = name.find('.'); dot != std::string_view::npos) name.remove_prefix(dot + 1);
  return name;
}

void take_section(std::string_view section, Message& message) {
  BlockFinder calls(section, kToolCallBegin, kToolCallEnd);
  for (auto call = calls.next(0); call; call = calls.next(call->end)) {
    const auto mark = call->body.find(kCallArguments);
    if (mark == std::string_view::npos) continue;
    const auto id = python_strip(call->body.substr(0, mark)), arguments = python_strip(call->body.substr(mark + kCallArguments.size()));
    const auto name = called_name(id);
    if (name.empty()) continue;
    if (const auto json = PythonJson::parse(arguments); json) {
      message.tool_calls.push_back({std::string(name), std::string(arguments), std::string(id)});
    } else {
      message.unparsed_tool_calls.push_back({std::string(section.substr(call->begin, call->end - call->begin)), json.error().message});
    }
  }
}

}  // namespace

Result<std::shared_ptr<const Renderer>> KimiK2Renderer::make(std::shared_ptr<const Tokenizer> tokenizer, const RendererOptions& options) {
  if (auto known = check_options(options, {.strip_thinking_from_history = true}, "kimi_k2"); !known) return fail(std::move(known).error());
  const auto end = needed_token(*tokenizer, kMessageEnd, "kimi_k2");
  if (!end) return fail(end.error());
  return std::shared_ptr<const Renderer>(
      new KimiK2Renderer(std::move(tokenizer), *end, options.strip_thinking_from_history.value_or(true)));
}

Description KimiK2Renderer::describe() {
  return {.name = "kimi_k2", .summary = "Kimi K2's chat format, with Moonshot's system message where there is none"};
}

std::vector<Message> KimiK2Renderer::prepared(const std::vector<Message>& messages) const {
  const std::size_t place = !messages.empty() && messages.front().role == "tool_declare" ? 1 : 0;
  if (messages.size() > place && messages[place].role == "system") return messages;
  auto all = messages;
  all.insert(all.begin() + static_cast<std::ptrdiff_t>(place),
             Message{.role = "system", .content = kMoonshotSystem});
  return all;
}

Result<std::vector<Message>> KimiK2Renderer::tools_prefix(const std::vector<ToolSpec>& tools, const std::string& system_prompt) const {
  std::string list;
  for (const auto& tool : tools) {
    list += list.empty() ? "[" : ",";
    list += R"({"function":)" + tool.function.dumps({.between_items = ",", .behind_key = ":", .sorts_keys = true}) + R"(,"type":"function"})";
  }
  return std::vector<Message>{{.role = "tool_declare", .content = list + "]"},
                              {.role = "system", .content = system_prompt.empty() ? kMoonshotSystem : system_prompt}};
}

std::size_t KimiK2Renderer::turn_start(std::span<const Message> messages) const {
  std::size_t i = messages.size();
  while (i > 0 && !(messages[i - 1].role == "assistant" && messages[i - 1].tool_calls.empty())) --i;
  return i;
}

Result<RenderedMessage> KimiK2Renderer::render(const Message& message, const RenderContext& context) const {
  std::string header, output;
  if (message.role == "assistant") {
    header = std::string("<|im_assistant|>assistant").append(kMiddle);
    output = kimi_answer(message, context.in_last_assistant_turn || !strips_);
  } else {
    auto content = plain_text_of(message, name());
    if (!content) return fail(std::move(content).error());
    output = *std::move(content);
    if (message.role == "user") {
      header = std::string("<|im_user|>user").append(kMiddle);
    } else if (message.role == "tool") {
      const auto tool = message.name.value_or("");
      header = std::string(kSystemHeader).append(tool.empty() ? "tool" : tool).append(kMiddle).append("## Return of ");
      header += message.tool_call_id.value_or("") + "\n";
    } else {
      header = std::string(kSystemHeader).append(message.role).append(kMiddle);
    }
  }
  auto header_chunk = encode(header, SpecialText::recognise);
  if (!header_chunk) return fail(std::move(header_chunk).error());
  auto output_chunk = encode(output.append(kMessageEnd), SpecialText::recognise);
  if (!output_chunk) return fail(std::move(output_chunk).error());
  return RenderedMessage{.header = *std::move(header_chunk), .output = {*std::move(output_chunk)}};
}

Result<std::vector<SupervisedExample>> KimiK2Renderer::build_supervised_examples(const std::vector<Message>& messages,
                                                                                 TrainOnWhat train_on) const {
  std::vector<std::size_t> ends;
  auto mode = train_on;
  if (train_on != TrainOnWhat::last_assistant_message && train_on != TrainOnWhat::last_assistant_turn) {
    bool is_first = true;
    for (std::size_t i = 0; i < messages.size(); ++i) {
      if (messages[i].role != "user") continue;
      if (!is_first) ends.push_back(i);
      is_first = false;
    }
    if (train_on == TrainOnWhat::all_assistant_messages) mode = TrainOnWhat::last_assistant_turn;
  }
  ends.push_back(messages.size());
  std::vector<SupervisedExample> examples;
  for (const auto end : ends) {
    auto example = build_supervised_example({messages.begin(), messages.begin() + static_cast<std::ptrdiff_t>(end)}, mode);
    if (!example) return fail(std::move(example).error());
    examples.push_back(*std::move(example));
  }
  return examples;
}

Result<ParsedResponse> KimiK2Renderer::parse_response(const std::vector<Token>& tokens) const {
  auto stopped = text_until(end_, tokens);
  if (!stopped) return fail(std::move(stopped).error());
  Message message{.role = "assistant"};
  if (stopped->termination == Termination::malformed) {
    message.content = std::move(stopped->text);
    return ParsedResponse{std::move(message), stopped->termination};
  }
  std::string_view text = stopped->text;
  auto section = find_block(text, kCallSectionBegin, kCallSectionEnd);
  if (!section) section = find_block(text, "<|tool_call_section_begin|>", "<|tool_call_section_end|>");
  if (section) {
    take_section(section->body, message);
    text = text.substr(0, section->begin);
  }
  message.content = with_think_blocks(text);
  return ParsedResponse{std::move(message), stopped->termination};
}

}  // namespace pipestill
