#include "ports/renderer/gpt_oss.hpp"

#include <algorithm>
#include <utility>

#include "ports/printable.hpp"
#include "ports/renderer/answer_text.hpp"
#include "ports/renderer/harmony_tools.hpp"
#include "ports/renderer/python_json.hpp"

namespace pipestill {
namespace {

constexpr std::string_view kStart = "<|start|>", kEnd = "<|end|>", kMessage = "<|message|>", kChannel = "<|channel|>",
                           kReturn = "<|return|>", kCall = "<|call|>", kFunctions = "functions.";
/// The role under which the format's own system message travels: a caller's would become the developer's.
constexpr const char* kOwnSystemRole = "<|system|>";

const char* effort_name(GptOssRenderer::Effort effort) {
  switch (effort) {
    case GptOssRenderer::Effort::none:
      return "none";
    case GptOssRenderer::Effort::low:
      return "low";
    case GptOssRenderer::Effort::medium:
      return "medium";
    case GptOssRenderer::Effort::high:
      return "high";
  }
  return "none";
}

std::string gpt_oss_name(GptOssRenderer::Effort effort) {
  return effort == GptOssRenderer::Effort::none ? "gpt_oss_no_sysprompt" : std::string("gpt_oss_") + effort_name(effort) + "_reasoning";
}

bool is_date(std::string_view text) {
  if (text.size() != 10 || text[4] != '-' || text[7] != '-') return false;
  for (const auto i : {0U, 1U, 2U, 3U, 5U, 6U, 8U, 9U}) {
    if (text[i] < '0' || text[i] > '9') return false;
  }
  const int month = (text[5] - '0') * 10 + (text[6] - '0'), day = (text[8] - '0') * 10 + (text[9] - '0');
  return month >= 1 && month <= 12 && day >= 1 && day <= 31;
}

std::string channel(std::string_view name, std::string_view text) {
  return std::string(kChannel).append(name).append(kMessage).append(text);
}

std::string harmony_answer(const Message& message, bool is_last) {
  std::string thinking;
  if (const auto* parts = message.content.if_parts()) {
    for (const auto& part : *parts) {
      if (const auto* thought = std::get_if<ThinkingPart>(&part)) thinking += thought->thinking;
    }
  }
  const auto said = message.content.said();
  const std::string next = std::string(kStart) + "assistant";
  std::string text;
  if (!thinking.empty()) text += channel("analysis", thinking).append(kEnd) + next;
  if (message.tool_calls.empty()) return text + channel("final", said).append(is_last ? kReturn : kEnd);
  if (!said.empty()) text += channel("commentary", said).append(kEnd) + next;
  for (std::size_t i = 0; i < message.tool_calls.size(); ++i) {
    const auto& call = message.tool_calls[i];
    if (i > 0) text += next;
    text += " to=functions." + call.name + channel("commentary <|constrain|>json", call.arguments).append(kCall);
  }
  return text;
}

/// The word behind `mark` in a header, which white space or another special token ends; empty if it is not there.
std::string_view word_behind(std::string_view header, std::string_view mark) {
  const auto at = header.find(mark);
  if (at == std::string_view::npos) return {};
  const auto word = python_lstrip(header.substr(at + mark.size()));
  return word.substr(0, word.find_first_of(" \t\r\n<"));
}

/// The messages that an answer is made of. Where nothing is recognised the answer is one text.
Message harmony_message(std::string_view text) {
  Message message{.role = "assistant"};
  std::vector<ContentPart> parts;
  for (std::size_t at = 0;;) {
    const auto mark = text.find(kMessage, at);
    if (mark == std::string_view::npos) break;
    const auto header = text.substr(at, mark - at);
    const auto body_begin = mark + kMessage.size(), end = std::min(text.find(kEnd, body_begin), text.size());
    const auto body = text.substr(body_begin, end - body_begin);
    const auto segment = text.substr(at, end - at);
    at = std::min(end + kEnd.size(), text.size());
    if (python_strip(body).empty()) continue;
    const auto recipient = word_behind(header, "to="), name = word_behind(header, kChannel);
    if (recipient.starts_with(kFunctions)) {
      const auto arguments = python_strip(body);
      if (const auto json = PythonJson::parse(arguments); json) {
        message.tool_calls.push_back({std::string(recipient.substr(kFunctions.size())), std::string(arguments)});
      } else {
        message.unparsed_tool_calls.push_back({std::string(segment), json.error().message});
      }
    } else if (name == "analysis") {
      parts.emplace_back(ThinkingPart{std::string(body)});
    } else if (name == "final" || name == "commentary") {
      parts.emplace_back(TextPart{std::string(body)});
    }
  }
  if (message.tool_calls.empty() && message.unparsed_tool_calls.empty()) {
    if (const auto call = text.find("to=functions."); call != std::string_view::npos) {
      message.unparsed_tool_calls.push_back({std::string(text.substr(call)), "a tool call without arguments"});
    }
  }
  if (parts.empty() && message.tool_calls.empty()) {
    message.content = std::string(text);
  } else {
    message.content = std::move(parts);
  }
  return message;
}

}  // namespace

Result<std::shared_ptr<const Renderer>> GptOssRenderer::make(Effort effort, std::shared_ptr<const Tokenizer> tokenizer,
                                                             const RendererOptions& options) {
  const auto name = gpt_oss_name(effort);
  if (auto known = check_options(options, {.current_date = effort != Effort::none}, name); !known) return fail(std::move(known).error());
  const auto date = options.current_date.value_or("");
  if (effort != Effort::none && !is_date(date)) {
    return fail(ErrorCode::invalid_input, "the renderer " + name +
                                              " needs the option current_date, the date that its system message says, as YYYY-MM-DD" +
                                              (date.empty() ? "" : "; it is \"" + printable(date) + "\""));
  }
  const auto return_token = needed_token(*tokenizer, kReturn, name);
  if (!return_token) return fail(return_token.error());
  const auto call_token = needed_token(*tokenizer, kCall, name);
  if (!call_token) return fail(call_token.error());
  return std::shared_ptr<const Renderer>(new GptOssRenderer(effort, std::move(tokenizer), *return_token, *call_token, date));
}

Description GptOssRenderer::describe(Effort effort) {
  return {.name = gpt_oss_name(effort),
          .summary = effort == Effort::none ? "gpt-oss's chat format, Harmony, without its system message"
                                            : std::string("gpt-oss's chat format, Harmony, with a system message that asks for ") +
                                                  effort_name(effort) + " reasoning and says the option current_date"};
}

std::string GptOssRenderer::name() const { return gpt_oss_name(effort_); }

std::vector<Message> GptOssRenderer::prepared(const std::vector<Message>& messages) const {
  if (effort_ == Effort::none) return messages;
  std::vector<Message> all;
  all.reserve(messages.size() + 1);
  all.push_back({.role = kOwnSystemRole,
                 .content = "You are ChatGPT, a large language model trained by OpenAI.\nKnowledge cutoff: 2024-06\nCurrent date: " +
                            date_ + "\n\nReasoning: " + effort_name(effort_) +
                            "\n\n# Valid channels: analysis, commentary, final. Channel must be included for every message."});
  all.insert(all.end(), messages.begin(), messages.end());
  return all;
}

Result<std::vector<Message>> GptOssRenderer::tools_prefix(const std::vector<ToolSpec>& tools, const std::string& system_prompt) const {
  const auto instructions = system_prompt.empty() ? "" : "# Instructions\n\n" + system_prompt + "\n\n";
  return std::vector<Message>{{.role = kOwnSystemRole, .content = "Calls to these tools must go to the commentary channel: 'functions'."},
                              {.role = "developer", .content = instructions + harmony_namespace(tools)}};
}

Result<RenderedMessage> GptOssRenderer::render(const Message& message, const RenderContext& context) const {
  std::string header = std::string(kStart), output;
  if (message.role == "assistant") {
    header += message.role;
    output = harmony_answer(message, context.is_last);
  } else {
    auto content = plain_text_of(message, name());
    if (!content) return fail(std::move(content).error());
    output = std::string(kMessage) + *content + std::string(kEnd);
    if (message.role == "tool") {
      const auto tool = message.name.value_or("unknown");
      header += (tool.starts_with(kFunctions) ? "" : std::string(kFunctions)) + tool + " to=assistant";
      output = channel("commentary", *content).append(kEnd);
    } else if (message.role == "system") {
      header += "developer";
      output = std::string(kMessage) + "# Instructions\n\n" + *content + "\n\n" + std::string(kEnd);
    } else {
      header += message.role == kOwnSystemRole ? "system" : message.role;
    }
  }
  auto header_chunk = encode(header, SpecialText::recognise);
  if (!header_chunk) return fail(std::move(header_chunk).error());
  auto output_chunk = encode(output, SpecialText::recognise);
  if (!output_chunk) return fail(std::move(output_chunk).error());
  return RenderedMessage{.header = *std::move(header_chunk), .output = {*std::move(output_chunk)}};
}

Result<ParsedResponse> GptOssRenderer::parse_response(const std::vector<Token>& tokens) const {
  // Of two different stops the earlier one ends the answer; each may stand there once.
  const auto first = std::ranges::find_if(tokens, [this](Token t) { return t == return_ || t == call_; });
  const auto other = first != tokens.end() && *first == return_ ? call_ : return_;
  const auto until_other = std::span(tokens).first(static_cast<std::size_t>(first - tokens.begin()));
  if (std::ranges::count(tokens, other) > 1) {
    auto twice = text_until(other, tokens);
    return fail(std::move(twice).error());
  }
  if (first == tokens.end()) {
    auto text = tokenizer().decode(until_other);
    if (!text) return fail(std::move(text).error());
    return ParsedResponse{{.role = "assistant", .content = *std::move(text)}, Termination::malformed};
  }
  auto stopped = text_until(*first, tokens);
  if (!stopped) return fail(std::move(stopped).error());
  return ParsedResponse{harmony_message(stopped->text), stopped->termination};
}

}  // namespace pipestill
