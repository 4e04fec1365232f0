#include "ports/renderer/qwen3.hpp"

#include <algorithm>
#include <utility>

#include "ports/printable.hpp"
#include "ports/renderer/answer_text.hpp"
#include "ports/renderer/python_json.hpp"
#include "ports/renderer/tools.hpp"

namespace pipestill {
namespace {

constexpr std::string_view kToolCallOpen = "<tool_call>", kToolCallClose = "</tool_call>", kNoThinking = "<think>\n\n</think>\n\n";
constexpr std::size_t kMaxUnterminatedBytes = 16384;

const char* qwen_name(Qwen3Renderer::Variant variant) {
  switch (variant) {
    case Qwen3Renderer::Variant::thinking:
      return "qwen3";
    case Qwen3Renderer::Variant::no_thinking:
      return "qwen3_disable_thinking";
    case Qwen3Renderer::Variant::instruct:
      return "qwen3_instruct";
  }
  return "qwen3";
}

std::string think_frame(std::string_view thinking) { return "<think>\n" + std::string(strip_newlines(thinking)) + "\n</think>\n\n"; }

/// A body, and whether it says something of thinking already.
struct QwenBody {
  std::string text = {};
  bool has_thinking = false;
};

QwenBody body_of_parts(const std::vector<ContentPart>& parts, bool is_framed, bool is_stripped) {
  QwenBody body;
  bool is_behind_frame = false;
  for (const auto& part : parts) {
    if (const auto* thinking = std::get_if<ThinkingPart>(&part)) {
      if (is_stripped) continue;
      body.has_thinking = true;
      is_behind_frame = is_framed;
      body.text += is_framed ? think_frame(thinking->thinking) : "<think>" + thinking->thinking + "</think>";
    } else {
      const std::string_view text = std::get<TextPart>(part).text;
      body.text += is_behind_frame ? lstrip_newlines(text) : text;
      is_behind_frame = false;
    }
  }
  return body;
}

QwenBody body_of_text(const std::string& text, bool is_framed) {
  const auto close = text.find(kThinkClose);
  if (!is_framed || close == std::string::npos) return {text, text.find(kThinkOpen) != std::string::npos};
  std::string_view thinking = std::string_view(text).substr(0, close);
  if (const auto open = thinking.rfind(kThinkOpen); open != std::string_view::npos) thinking.remove_prefix(open + kThinkOpen.size());
  const auto rest = lstrip_newlines(std::string_view(text).substr(close + kThinkClose.size()));
  return {think_frame(thinking).append(rest), true};
}

/// One `<tool_call>` block's JSON into a call, or what is wrong with it.
void take_tool_call(std::string_view block, std::string_view body, Message& message) {
  const auto refuse = [&](std::string error) { message.unparsed_tool_calls.push_back({std::string(block), std::move(error)}); };
  const auto call = PythonJson::parse(body);
  if (!call) return refuse(call.error().message);
  if (!call->is_object()) return refuse("Tool call is not a JSON object");
  const auto* name = call->find(U"name");
  auto name_text = name ? name->text() : std::nullopt;
  if (!name_text) return refuse("Missing or invalid 'name' field");
  const auto* arguments = call->find(U"arguments");
  if (!arguments || !arguments->is_object()) return refuse("Missing or invalid 'arguments' field");
  const auto* id = call->find(U"id");
  message.tool_calls.push_back({*std::move(name_text), arguments->dumps(), id ? id->text() : std::nullopt});
}

/// `trims`: line ends around thinking and before what follows it are the format's, not the answer's.
Message parsed_answer(std::string_view text, bool trims) {
  Message message{.role = "assistant"};
  if (text.find(kThinkOpen) == std::string_view::npos && text.find(kToolCallOpen) == std::string_view::npos) {
    message.content = std::string(text);
    return message;
  }
  std::vector<ContentPart> parts;
  bool is_behind_thinking = false;
  const auto add_text = [&](std::string_view piece) {
    if (trims && is_behind_thinking) piece = lstrip_newlines(piece);
    if (!piece.empty()) parts.emplace_back(TextPart{std::string(piece)});
  };
  std::size_t at = 0;
  BlockFinder thinks(text, kThinkOpen, kThinkClose), calls(text, kToolCallOpen, kToolCallClose);
  for (;;) {
    const auto think = thinks.next(at), call = calls.next(at);
    if (!think && !call) break;
    const bool is_think = think && (!call || think->begin < call->begin);
    const auto& block = is_think ? *think : *call;
    add_text(text.substr(at, block.begin - at));
    if (is_think) {
      const auto thinking = trims ? strip_newlines(block.body) : block.body;
      if (!thinking.empty()) parts.emplace_back(ThinkingPart{std::string(thinking)});
    } else {
      take_tool_call(text.substr(block.begin, block.end - block.begin), block.body, message);
    }
    is_behind_thinking = is_think;
    at = block.end;
  }
  const auto rest = text.substr(at);
  add_text(rest);
  if (const auto open = rest.rfind(kToolCallOpen); open != std::string_view::npos) {
    message.unparsed_tool_calls.push_back(
        {std::string(rest.substr(open, kMaxUnterminatedBytes)),
         "unterminated tool block: '" + std::string(kToolCallOpen) + "' opened without a matching '" + std::string(kToolCallClose) + "'"});
  }
  message.content = std::move(parts);
  return message;
}

}  // namespace

Result<std::shared_ptr<const Renderer>> Qwen3Renderer::make(Variant variant, std::shared_ptr<const Tokenizer> tokenizer,
                                                            const RendererOptions& options) {
  if (auto known = check_options(options, {.strip_thinking_from_history = true}, qwen_name(variant)); !known) {
    return fail(std::move(known).error());
  }
  const auto end = needed_token(*tokenizer, "<|im_end|>", qwen_name(variant));
  if (!end) return fail(end.error());
  return std::shared_ptr<const Renderer>(
      new Qwen3Renderer(variant, std::move(tokenizer), *end, options.strip_thinking_from_history.value_or(true)));
}

Description Qwen3Renderer::describe(Variant variant) {
  const char* summary = "Qwen3's chat format for its hybrid models, which think";
  if (variant == Variant::no_thinking) summary = "Qwen3's chat format for its hybrid models, told not to think";
  if (variant == Variant::instruct) summary = "Qwen3's chat format for its instruct models, which do not think";
  return {.name = qwen_name(variant), .summary = summary};
}

std::string Qwen3Renderer::name() const { return qwen_name(variant_); }

Result<std::string> Qwen3Renderer::body(const Message& message, const RenderContext& context) const {
  const bool is_assistants = message.role == "assistant";
  const bool is_framed = variant_ != Variant::instruct && is_assistants && context.has_user && (context.is_last || !strips_);
  const bool is_stripped = is_assistants && !context.is_last && strips_;
  const auto* text = message.content.if_text();
  auto body = text ? body_of_text(*text, is_framed) : body_of_parts(*message.content.if_parts(), is_framed, is_stripped);
  bool has_text = !body.text.empty();
  if (is_framed && !body.has_thinking) body.text = std::string(kNoThinking).append(lstrip_newlines(body.text));
  if (message.role == "tool") body.text = "<tool_response>\n" + body.text + "\n</tool_response>";
  for (const auto& call : message.tool_calls) {
    const auto arguments = PythonJson::parse(call.arguments);
    if (!arguments) {
      return fail(ErrorCode::invalid_input, "the arguments of the tool call \"" + printable(call.name) +
                                                "\" must be JSON for the renderer " + name() + ": " + arguments.error().message);
    }
    body.text += (has_text ? "\n<tool_call>\n" : "<tool_call>\n") + ("{\"name\": " + python_quoted(call.name)) +
                 ", \"arguments\": " + arguments->dumps() + "}\n</tool_call>";
    has_text = true;
  }
  return std::move(body.text);
}

Result<RenderedMessage> Qwen3Renderer::render(const Message& message, const RenderContext& context) const {
  if (variant_ == Variant::no_thinking && message.role == "assistant" && context.is_last && !context.has_user) {
    return fail(ErrorCode::invalid_input, name() +
                                              " writes no empty think block in a conversation without a user message, so that an answer "
                                              "there does not follow its prompt; add a user message");
  }
  const auto role = message.role == "tool" ? "user" : message.role;
  auto header = encode((context.index > 0 ? "\n<|im_start|>" : "<|im_start|>") + role + "\n", SpecialText::recognise);
  if (!header) return fail(std::move(header).error());
  const auto text = body(message, context);
  if (!text) return fail(text.error());
  auto output = encode(*text, SpecialText::plain_text);
  if (!output) return fail(std::move(output).error());
  return RenderedMessage{.header = std::move(*header), .output = {std::move(*output), {{end_}}}};
}

Result<std::optional<EncodedTextChunk>> Qwen3Renderer::suffix(const Message& message, const RenderContext& context) const {
  const auto role = message.role == "tool" ? "user" : message.role;
  const std::string frame = variant_ == Variant::no_thinking ? std::string(kNoThinking) : "";
  return encode((context.index > 0 ? "\n<|im_start|>" : "<|im_start|>") + role + "\n" + frame, SpecialText::recognise)
      .map([](EncodedTextChunk chunk) { return std::optional(std::move(chunk)); });
}

Result<std::vector<Message>> Qwen3Renderer::tools_prefix(const std::vector<ToolSpec>& tools, const std::string& system_prompt) const {
  std::string text = system_prompt.empty() ? "" : system_prompt + "\n\n";
  text +=
      "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
      "You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n";
  for (const auto& tool : tools) text += R"({"type": "function", "function": )" + tool.function.dumps() + "}\n";
  text +=
      "</tools>\n\nFor each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:\n"
      "<tool_call>\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>";
  return std::vector<Message>{{.role = "system", .content = std::move(text)}};
}

Result<ParsedResponse> Qwen3Renderer::parse_response(const std::vector<Token>& tokens) const {
  auto answer = text_until(end_, tokens);
  if (!answer) return fail(std::move(answer).error());
  if (answer->termination == Termination::malformed) {
    return ParsedResponse{{.role = "assistant", .content = std::move(answer->text)}, answer->termination};
  }
  return ParsedResponse{parsed_answer(answer->text, variant_ != Variant::instruct), answer->termination};
}

}  // namespace pipestill
