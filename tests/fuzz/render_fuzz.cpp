// Conversations and answers. The input is a list of messages as JSON, which goes through every renderer in every mode; whatever it is, it
// is an answer too, and JSON for Python's reader.
#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ports/renderer/message_json.hpp"
#include "ports/renderer/python_json.hpp"
#include "ports/renderer/renderer.hpp"
#include "ports/renderer/tools.hpp"
#include "ports/strict_json.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/support/stand_in_tokenizer.hpp"

namespace {

using namespace pipestill;
using pipestill::fuzz::require;

constexpr TrainOnWhat kEveryMode[] = {TrainOnWhat::last_assistant_message,
                                      TrainOnWhat::last_assistant_turn,
                                      TrainOnWhat::all_assistant_messages,
                                      TrainOnWhat::all_messages,
                                      TrainOnWhat::all_tokens,
                                      TrainOnWhat::all_user_and_system_messages,
                                      TrainOnWhat::customized};

/// One vocabulary for all formats.
const std::shared_ptr<const Tokenizer>& every_token() {
  static const std::shared_ptr<const Tokenizer> tokenizer = std::make_shared<test::StandInTokenizer>(
      std::vector<std::string>{"<|user|>",
                               "<|assistant|>",
                               "<|end|>",
                               "<|begin_of_text|>",
                               "<|start_header_id|>",
                               "<|end_header_id|>",
                               "<|eot_id|>",
                               "<|im_start|>",
                               "<|im_end|>",
                               "<｜begin▁of▁sentence｜>",
                               "<｜end▁of▁sentence｜>",
                               "<|start|>",
                               "<|message|>",
                               "<|channel|>",
                               "<|constrain|>",
                               "<|return|>",
                               "<|call|>",
                               "<|im_system|>",
                               "<|im_user|>",
                               "<|im_assistant|>",
                               "<|im_middle|>"},
      std::vector<std::string>{"<think>", "</think>", "<tool_call>", "</tool_call>", "<｜User｜>", "<｜Assistant｜>"}, "<|begin_of_text|>",
      "<|end|>");
  return tokenizer;
}

const std::vector<std::shared_ptr<const Renderer>>& every_renderer() {
  static const auto all = [] {
    std::vector<std::shared_ptr<const Renderer>> renderers;
    for (const auto& format : Renderer::describe_all()) {
      for (const bool strips : {true, false}) {
        RendererOptions options;
        if (!strips) options.strip_thinking_from_history = false;
        if (format.name.ends_with("_reasoning")) options.current_date = "2025-01-15";
        auto made = Renderer::make(format.name, every_token(), options);
        require(made.has_value() || !strips, "every renderer can be made");
        if (made) renderers.push_back(*std::move(made));
      }
    }
    return renderers;
  }();
  return all;
}

void require_sound_example(const SupervisedExample& example) {
  require(example.weights.size() == example.input.length(), "every token of an example has a weight");
  require(std::ranges::all_of(example.weights, [](float w) { return w == 0 || w == 1; }), "weights are 0 or 1");
  require(every_token()->decode(example.input.to_ints()).has_value(), "an example has a text");
}

void check_conversation(const Renderer& renderer, const std::vector<Message>& messages) {
  if (const auto prompt = renderer.build_generation_prompt(messages, {.prefill = "<think>"}); prompt) {
    require(std::ranges::none_of(prompt->chunks, [](const auto& chunk) { return chunk.tokens.empty(); }), "a prompt has no empty chunk");
  } else {
    fuzz::require_sound_refusal(prompt.error());
  }
  for (const auto mode : kEveryMode) {
    if (const auto example = renderer.build_supervised_example(messages, mode); example) {
      require_sound_example(*example);
    } else {
      fuzz::require_sound_refusal(example.error());
    }
    if (const auto examples = renderer.build_supervised_examples(messages, mode); examples) {
      std::ranges::for_each(*examples, require_sound_example);
    } else {
      fuzz::require_sound_refusal(examples.error());
    }
  }
}

void require_round_trip(const Message& message) {
  if (const auto* parts = message.content.if_parts(); parts && parts->size() > kMaxMessageElements) return;
  if (std::max(message.tool_calls.size(), message.unparsed_tool_calls.size()) > kMaxMessageElements) return;
  const auto again = message_from_json(message_to_json(message), "m");
  require(again.has_value() && *again == message, "a message survives being written and read");
}

void check_answer(const Renderer& renderer, const std::vector<Token>& tokens) {
  const auto parsed = renderer.parse_response(tokens);
  if (!parsed) {
    require(parsed.error().code == ErrorCode::backend_failed, "an answer of known tokens is refused only for what its sampler did");
    return;
  }
  require(parsed->message.role == "assistant", "an answer is the assistant's");
  if (parsed->termination == Termination::malformed)
    require(parsed->message.content.if_text() != nullptr, "what has not ended is not taken apart");
  require_round_trip(parsed->message);
}

void check_python_json(std::string_view text) {
  const auto value = PythonJson::parse(text);
  if (!value) {
    fuzz::require_sound_refusal(value.error());
    return;
  }
  const auto printed = value->dumps();
  require(std::ranges::all_of(printed, [](char c) { return c >= 0x20; }), "Python's JSON is ASCII on one line");
  const auto again = PythonJson::parse(printed);
  require(again.has_value() && again->dumps() == printed, "Python's JSON survives being read and printed");
}

}  // namespace

PIPESTILL_FUZZ_TARGET(render) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_python_json(text);
  const auto answer = every_token()->encode(text, SpecialText::recognise).value();
  for (const auto& renderer : every_renderer()) check_answer(*renderer, answer);
  const auto value = parse_strict_json(text, "messages.json");
  if (!value) {
    fuzz::require_sound_refusal(value.error());
    return 0;
  }
  const auto* object = value->if_object();
  const auto* list = object ? object->if_contains("messages") : &*value;
  const auto* declared = object ? object->if_contains("tools") : nullptr;
  const auto messages = messages_from_json(list ? *list : *value, "messages.json");
  const auto tools = declared ? tools_from_json(*declared, "tools") : Result<std::vector<ToolSpec>>();
  if (!messages) fuzz::require_sound_refusal(messages.error());
  if (!tools) fuzz::require_sound_refusal(tools.error());
  if (!messages || !tools) return 0;
  for (const auto& message : *messages) require_round_trip(message);
  for (const auto& renderer : every_renderer()) {
    const auto conversation = with_tools(*renderer, *tools, *messages);
    if (conversation) check_conversation(*renderer, *conversation);
    else fuzz::require_sound_refusal(conversation.error());
  }
  return 0;
}
