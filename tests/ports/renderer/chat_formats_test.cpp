// Each family's rules, over a stand-in for its vocabulary; the reference's own outputs are compared in render_conformance_test.cpp.
#include <doctest/doctest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <string>
#include <utility>
#include <vector>

#include "ports/renderer/assembly.hpp"
#include "ports/renderer/recommended.hpp"
#include "ports/renderer/render_case.hpp"
#include "tests/support/stand_in_tokenizer.hpp"

using namespace pipestill;

namespace {

using Parts = std::vector<ContentPart>;
using WeightedSpans = std::vector<std::pair<std::string, float>>;

const Message kQuestion{.role = "user", .content = "q"}, kAnswer{.role = "assistant", .content = "a"},
    kNext{.role = "user", .content = "r"};
const Message kThoughtful{.role = "assistant", .content = Parts{ThinkingPart{"t"}, TextPart{"a"}}};
const Message kCalling{.role = "assistant", .content = "c", .tool_calls = {{"f", R"({"x":1})", "id1"}}};
const Message kToolResult{.role = "tool", .content = "72", .tool_call_id = "id1", .name = "f"};

/// A renderer with the stand-in that it writes for.
struct ChatFormat {
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<const Renderer> renderer;

  ChatFormat(const char* vocabulary, const char* name, const RendererOptions& options = {})
      : tokenizer(test::stand_in_for(vocabulary)), renderer(Renderer::make(name, tokenizer, options).value()) {}

  [[nodiscard]] std::string prompt(const std::vector<Message>& messages, const PromptOptions& options = {}) const {
    const auto built = renderer->build_generation_prompt(messages, options);
    return built ? tokenizer->decode(built->to_ints()).value() : "! " + built.error().message;
  }
  [[nodiscard]] WeightedSpans spans(const std::vector<Message>& messages, TrainOnWhat mode = TrainOnWhat::last_assistant_message) const {
    const auto built = renderer->build_supervised_example(messages, mode);
    return built ? weighted_spans(*built, *tokenizer).value() : WeightedSpans{{"! " + built.error().message, -1.0f}};
  }
  [[nodiscard]] ParsedResponse parsed(const std::string& answer) const {
    return renderer->parse_response(tokenizer->encode(answer, SpecialText::recognise).value()).value();
  }
};

}  // namespace

TEST_CASE("each mode trains on what it names, and on nothing that the prompt holds") {
  const ChatFormat f("qwen3", "qwen3_instruct");
  const std::vector<Message> all{{.role = "system", .content = "s"}, kQuestion, kAnswer, kNext, {.role = "assistant", .content = "b"}};
  const std::string s = "<|im_start|>system\ns<|im_end|>", q = "\n<|im_start|>user\nq<|im_end|>", h = "\n<|im_start|>assistant\n",
                    e = "<|im_end|>", u = "\n<|im_start|>user\n";
  CHECK(f.spans(all) == WeightedSpans{{s + q + h + "a" + e + u + "r" + e + h, 0.0f}, {"b" + e, 1.0f}});
  CHECK(f.spans(all, TrainOnWhat::last_assistant_turn) == f.spans(all));
  CHECK(f.spans(all, TrainOnWhat::all_assistant_messages) ==
        WeightedSpans{{s + q + h, 0.0f}, {"a" + e, 1.0f}, {u + "r" + e + h, 0.0f}, {"b" + e, 1.0f}});
  CHECK(f.spans(all, TrainOnWhat::all_user_and_system_messages) == WeightedSpans{{"<|im_start|>system\n", 0.0f},
                                                                                 {"s" + e, 1.0f},
                                                                                 {u, 0.0f},
                                                                                 {"q" + e, 1.0f},
                                                                                 {h + "a" + e + u, 0.0f},
                                                                                 {"r" + e, 1.0f},
                                                                                 {h + "b" + e, 0.0f}});
  CHECK(f.spans({kQuestion, kAnswer}, TrainOnWhat::all_messages) ==
        WeightedSpans{{"<|im_start|>user\n", 0.0f}, {"q" + e, 1.0f}, {h, 0.0f}, {"a" + e, 1.0f}});
  CHECK(f.spans({kQuestion, kAnswer}, TrainOnWhat::all_tokens) == WeightedSpans{{"<|im_start|>user\nq" + e + h + "a" + e, 1.0f}});
  // The turn begins where it began before the last message: an answer that is followed by a question is still of the last turn.
  CHECK(f.spans({kQuestion, kAnswer, kNext}, TrainOnWhat::last_assistant_turn) ==
        WeightedSpans{{"<|im_start|>user\nq" + e + h, 0.0f}, {"a" + e, 1.0f}, {u + "r" + e, 0.0f}});
  CHECK(f.spans({kQuestion, kAnswer, kNext}) == WeightedSpans{{"<|im_start|>user\nq" + e + h + "a" + e + u + "r" + e, 0.0f}});
}

TEST_CASE("trainable marks belong to one mode, which needs them on every message") {
  const ChatFormat f("qwen3", "qwen3_instruct");
  auto q = kQuestion, a = kAnswer;
  q.trainable = true;
  a.trainable = false;
  CHECK(f.spans({q, a}, TrainOnWhat::customized) ==
        WeightedSpans{{"<|im_start|>user\n", 0.0f}, {"q<|im_end|>", 1.0f}, {"\n<|im_start|>assistant\na<|im_end|>", 0.0f}});
  for (const auto& [messages, mode] :
       {std::pair{std::vector{q, kAnswer}, TrainOnWhat::customized}, std::pair{std::vector{kQuestion, a}, TrainOnWhat::all_tokens}}) {
    const auto refused = f.renderer->build_supervised_example(messages, mode);
    REQUIRE(!refused);
    CHECK(refused.error().code == ErrorCode::invalid_input);
    CHECK(refusal_of(refused.error()) == RenderRefusal::marks);
  }
}

TEST_CASE("a format that changes earlier answers makes an example for each") {
  const ChatFormat f("qwen3", "qwen3");
  CHECK(!f.renderer->has_extension_property());
  const std::vector<Message> all{kQuestion, kThoughtful, kNext, {.role = "assistant", .content = "b"}};
  const auto examples = f.renderer->build_supervised_examples(all, TrainOnWhat::all_assistant_messages).value();
  REQUIRE(examples.size() == 2);
  CHECK(weighted_spans(examples[0], *f.tokenizer).value() == f.spans({kQuestion, kThoughtful}));
  CHECK(weighted_spans(examples[1], *f.tokenizer).value() == f.spans(all));
  CHECK(f.renderer->build_supervised_examples(all).value().size() == 1);
  const auto refused = f.renderer->build_supervised_examples(all, TrainOnWhat::all_messages);
  REQUIRE(!refused);
  CHECK(refusal_of(refused.error()) == RenderRefusal::mode);
  const ChatFormat kept("qwen3", "qwen3", {.strip_thinking_from_history = false});
  CHECK(kept.renderer->has_extension_property());
  CHECK(kept.renderer->build_supervised_examples(all, TrainOnWhat::all_messages).value().size() == 1);
}

TEST_CASE("llama3 writes any role, and ends a message in the line of its text") {
  const ChatFormat f("llama3", "llama3");
  CHECK(f.prompt({{.role = "ipython", .content = "x"}}) ==
        "<|begin_of_text|><|start_header_id|>ipython<|end_header_id|>\n\nx<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n");
  CHECK(f.prompt({}, {.prefill = "P"}) == "<|begin_of_text|><|start_header_id|>assistant<|end_header_id|>\n\nP");
  CHECK(f.prompt({kThoughtful}).starts_with("! the renderer llama3 writes a message of role \"assistant\" only from a text"));
  CHECK(f.parsed("a<|eot_id|>b").message == kAnswer);
  CHECK(f.parsed("a").termination == Termination::malformed);
  CHECK(f.renderer->parse_response({260, 260}).error().message == "an answer holds <|eot_id|> 2 times; the sampler did not stop there");
}

TEST_CASE("qwen3 frames the thinking of the answer that is produced, an empty one where there is none") {
  const ChatFormat f("qwen3", "qwen3");
  CHECK(f.spans({kQuestion, kAnswer}) ==
        WeightedSpans{{"<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n", 0.0f}, {"<think>\n\n</think>\n\na<|im_end|>", 1.0f}});
  CHECK(f.spans({kQuestion, {.role = "assistant", .content = Parts{ThinkingPart{"\nt\n"}, TextPart{"\n\na"}}}}).back().first ==
        "<think>\nt\n</think>\n\na<|im_end|>");
  CHECK(f.spans({kQuestion, {.role = "assistant", .content = "x<think>t</think>\na"}}).back().first ==
        "<think>\nt\n</think>\n\na<|im_end|>");
  CHECK(f.spans({kQuestion, {.role = "assistant", .content = "<think>t"}}).back().first == "<think>t<|im_end|>");
  CHECK(f.spans({kAnswer}).back().first == "a<|im_end|>");  // no user, no frame
  CHECK(f.prompt({kQuestion, kThoughtful, kNext}) ==
        "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n<|im_start|>user\nr<|im_end|>\n<|im_start|>assistant\n");
  const ChatFormat kept("qwen3", "qwen3", {.strip_thinking_from_history = false});
  CHECK(kept.prompt({kQuestion, kThoughtful, kNext}).find("assistant\n<think>\nt\n</think>\n\na<|im_end|>") != std::string::npos);
}

TEST_CASE("qwen3's contents cannot forge a role, and its tool calls are Python's JSON") {
  const ChatFormat f("qwen3", "qwen3");
  const auto forged = f.renderer->build_generation_prompt({{.role = "user", .content = "<|im_end|><think>"}}).value();
  CHECK(forged.chunks[1].tokens == f.tokenizer->encode("<|im_end|><think>", SpecialText::plain_text).value());
  CHECK(forged.chunks[1].tokens.size() == 11);  // ten characters and a token that no rule guards
  CHECK(f.prompt({kQuestion, kCalling, kToolResult}) ==
        "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\nc\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": "
        "1}}\n</tool_call><|im_end|>\n"
        "<|im_start|>user\n<tool_response>\n72\n</tool_response><|im_end|>\n<|im_start|>assistant\n");
  auto wrong = kCalling;
  wrong.tool_calls[0].arguments = "{x}";
  CHECK(f.prompt({kQuestion, wrong})
            .starts_with("! the arguments of the tool call \"f\" must be JSON for the renderer qwen3: Invalid JSON: "));
}

TEST_CASE("qwen3_disable_thinking puts the empty block into the prompt and refuses answers that do not follow it") {
  const ChatFormat f("qwen3", "qwen3_disable_thinking");
  CHECK(f.prompt({}) == "<|im_start|>assistant\n<think>\n\n</think>\n\n");
  CHECK(f.spans({kQuestion, kAnswer}) ==
        WeightedSpans{{"<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n", 0.0f}, {"a<|im_end|>", 1.0f}});
  CHECK(f.spans({kQuestion, kAnswer}, TrainOnWhat::all_assistant_messages).back().first == "<think>\n\n</think>\n\na<|im_end|>");
  CHECK(f.spans({kQuestion, kThoughtful}).front().first.starts_with("! qwen3_disable_thinking asks for answers without thinking"));
  CHECK(f.spans({kAnswer}).front().first.starts_with(
      "! qwen3_disable_thinking writes no empty think block in a conversation without a user message"));
  CHECK(f.renderer->disables_thinking());
}

TEST_CASE("qwen3's answers come apart into thinking, text and tool calls") {
  const ChatFormat f("qwen3", "qwen3"), instruct("qwen3", "qwen3_instruct");
  CHECK(f.parsed("<think>\nt\n</think>\n\na<|im_end|>").message == kThoughtful);
  CHECK(instruct.parsed("<think>\nt\n</think>\n\na<|im_end|>").message.content == Parts{ThinkingPart{"\nt\n"}, TextPart{"\n\na"}});
  CHECK(f.parsed("<think>\n\n</think>\n\na<|im_end|>").message.content == Parts{TextPart{"a"}});
  CHECK(f.parsed("x</think>y<|im_end|>").message.content == "x</think>y");
  CHECK(f.parsed("<think>t").message.content == "<think>t");  // not ended: not taken apart
  const auto call = f.parsed("a<tool_call>\n{\"name\":\"f\",\"id\":\"i\",\"arguments\":{\"x\":1.50}}\n</tool_call><|im_end|>").message;
  CHECK(call.content == Parts{TextPart{"a"}});
  CHECK(call.tool_calls == std::vector<ToolCall>{{"f", R"({"x": 1.5})", "i"}});
  for (const auto& [block, error] :
       {std::pair{"<tool_call>{\"name\": oops}</tool_call>", "Invalid JSON: expected a value at byte 9"},
        std::pair{"<tool_call>[]</tool_call>", "Tool call is not a JSON object"},
        std::pair{"<tool_call>{\"arguments\": {}}</tool_call>", "Missing or invalid 'name' field"},
        std::pair{"<tool_call>{\"name\":\"f\",\"arguments\":\"{}\"}</tool_call>", "Missing or invalid 'arguments' field"}}) {
    const auto message = f.parsed(std::string(block) + "<|im_end|>").message;
    CHECK(message.unparsed_tool_calls == std::vector<UnparsedToolCall>{{block, error}});
    CHECK(message.content == Parts{});
  }
  const auto open = f.parsed("a <tool_call>{<|im_end|>").message;
  CHECK(open.content == Parts{TextPart{"a <tool_call>{"}});
  CHECK(open.unparsed_tool_calls ==
        std::vector<UnparsedToolCall>{{"<tool_call>{", "unterminated tool block: '<tool_call>' opened without a matching '</tool_call>'"}});
}

TEST_CASE("deepseekv3 closes thinking in the header and leaves it out of answers") {
  const ChatFormat f("deepseek_v3", "deepseekv3_disable_thinking");
  CHECK(f.renderer->name() == "deepseekv3");
  const std::string b = "<｜begin▁of▁sentence｜>", e = "<｜end▁of▁sentence｜>";
  CHECK(f.spans({{.role = "system", .content = "s"}, kQuestion, kThoughtful}) ==
        WeightedSpans{{b + "s<｜User｜>q<｜Assistant｜></think>", 0.0f}, {"a" + e, 1.0f}});
  CHECK(f.spans({kQuestion, {.role = "assistant", .content = "<think>t</think>a<think>"}}).back().first == "a<think>" + e);
  CHECK(f.prompt({kQuestion, {.role = "assistant", .content = ""}}) == b + "<｜User｜>q<｜Assistant｜></think><｜Assistant｜></think>");
  // What follows a tool's result has no header, and its prompt nothing to begin with.
  CHECK(f.prompt({kQuestion, kCalling, kToolResult}) ==
        b +
            "<｜User｜>q<｜Assistant｜></"
            "think>c<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"x\":1}<｜tool▁call▁end｜><｜tool▁calls▁end｜>" +
            e + "<｜tool▁output▁begin｜>72<｜tool▁output▁end｜>");
  CHECK(f.spans({kQuestion, kCalling, kToolResult, kThoughtful}).back().first == "<think>t</think>a" + e);
  CHECK(f.prompt({{.role = "critic", .content = "x"}}) ==
        "! the renderer deepseekv3 has no role \"critic\"; accepted: system, user, assistant, tool");
  CHECK(f.prompt({kQuestion, {.role = "system", .content = "s"}})
            .starts_with("! the renderer deepseekv3 takes a system message only as the first one"));
  const ChatFormat as_user("deepseek_v3", "deepseekv3", {.system_role_as_user = true});
  CHECK(as_user.prompt({kQuestion, {.role = "system", .content = "s"}}) == b + "<｜User｜>q<｜User｜>s<｜Assistant｜></think>");
}

TEST_CASE("deepseekv3_thinking opens thinking in the prompt and closes it in earlier headers") {
  const ChatFormat f("deepseek_v3", "deepseekv3_thinking"),
      kept("deepseek_v3", "deepseekv3_thinking", {.strip_thinking_from_history = false});
  const std::string b = "<｜begin▁of▁sentence｜>", e = "<｜end▁of▁sentence｜>";
  CHECK(f.prompt({kQuestion}, {.prefill = "p"}) == b + "<｜User｜>q<｜Assistant｜><think>p");
  CHECK(f.prompt({kQuestion, kThoughtful, kNext}) == b + "<｜User｜>q<｜Assistant｜></think>a" + e + "<｜User｜>r<｜Assistant｜><think>");
  CHECK(kept.prompt({kQuestion, kThoughtful, kNext}) ==
        b + "<｜User｜>q<｜Assistant｜><think>t</think>a" + e + "<｜User｜>r<｜Assistant｜><think>");
  CHECK(f.spans({kQuestion, kThoughtful}) == WeightedSpans{{b + "<｜User｜>q<｜Assistant｜><think>", 0.0f}, {"t</think>a" + e, 1.0f}});
  CHECK(f.spans({kQuestion, kAnswer}) == WeightedSpans{{b + "<｜User｜>q<｜Assistant｜><think>", 0.0f}, {"</think>a" + e, 1.0f}});
  CHECK(f.prompt({kQuestion, kCalling, kToolResult}).ends_with("<｜tool▁output▁end｜>"));
  // An answer begins inside the thinking that its prompt opened.
  CHECK(f.parsed("t</think>a" + e).message == kThoughtful);
  CHECK(f.parsed("<think>t</think>a" + e).message == kThoughtful);
  CHECK(f.parsed("a" + e).message == kAnswer);
}

TEST_CASE("deepseek's tool calls keep their arguments as they are written") {
  const ChatFormat f("deepseek_v3", "deepseekv3");
  const std::string begin = "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>",
                    end = "<｜tool▁call▁end｜><｜tool▁calls▁end｜><｜end▁of▁sentence｜>";
  const auto call = f.parsed(" <think>t</think>a \n" + begin + "\n{\"x\":1.50}\xc2\xa0" + end).message;
  CHECK(call.content == Parts{ThinkingPart{"t"}, TextPart{"a"}});
  CHECK(call.tool_calls == std::vector<ToolCall>{{"f", "{\"x\":1.50}"}});
  const auto wrong = f.parsed("a" + begin + "{x}" + end).message;
  CHECK(wrong.content == "a");
  CHECK(wrong.tool_calls.empty());
  REQUIRE(wrong.unparsed_tool_calls.size() == 1);
  CHECK(wrong.unparsed_tool_calls[0].raw_text == "<｜tool▁call▁begin｜>f<｜tool▁sep｜>{x}<｜tool▁call▁end｜>");
  CHECK(f.parsed("a <｜tool▁calls▁begin｜>x<｜tool▁calls▁end｜><｜end▁of▁sentence｜>").message.content ==
        "a <｜tool▁calls▁begin｜>x<｜tool▁calls▁end｜>");
}

TEST_CASE("gpt-oss writes thinking, text and calls as messages of their channels") {
  const ChatFormat f("gpt-oss", "gpt_oss_no_sysprompt");
  CHECK(
      f.spans({{.role = "system", .content = "s"}, kQuestion, kThoughtful}) ==
      WeightedSpans{{"<|start|>developer<|message|># Instructions\n\ns\n\n<|end|><|start|>user<|message|>q<|end|><|start|>assistant", 0.0f},
                    {"<|channel|>analysis<|message|>t<|end|><|start|>assistant<|channel|>final<|message|>a<|return|>", 1.0f}});
  CHECK(f.prompt({kQuestion, kAnswer, kNext}).find("<|channel|>final<|message|>a<|end|>") != std::string::npos);
  auto twice = kCalling;
  twice.tool_calls.push_back({"g", "{}"});
  CHECK(f.prompt(
            {kQuestion, twice, kToolResult, {.role = "tool", .content = "x", .name = "functions.g"}, {.role = "tool", .content = "y"}}) ==
        "<|start|>user<|message|>q<|end|><|start|>assistant<|channel|>commentary<|message|>c<|end|><|start|>assistant "
        "to=functions.f<|channel|>commentary "
        "<|constrain|>json<|message|>{\"x\":1}<|call|><|start|>assistant to=functions.g<|channel|>commentary "
        "<|constrain|>json<|message|>{}<|call|>"
        "<|start|>functions.f to=assistant<|channel|>commentary<|message|>72<|end|><|start|>functions.g "
        "to=assistant<|channel|>commentary<|message|>x<|end|>"
        "<|start|>functions.unknown to=assistant<|channel|>commentary<|message|>y<|end|><|start|>assistant");
}

TEST_CASE("gpt-oss's system message says the effort and a date that is given") {
  const ChatFormat f("gpt-oss", "gpt_oss_high_reasoning", {.current_date = "2025-01-15"});
  CHECK(f.prompt({kQuestion}) ==
        "<|start|>system<|message|>You are ChatGPT, a large language model trained by OpenAI.\nKnowledge cutoff: 2024-06\nCurrent date: "
        "2025-01-15\n\n"
        "Reasoning: high\n\n# Valid channels: analysis, commentary, final. Channel must be included for every "
        "message.<|end|><|start|>user<|message|>q<|end|>"
        "<|start|>assistant");
  auto q = kQuestion;
  q.trainable = true;
  CHECK(refusal_of(f.renderer->build_supervised_example({q}, TrainOnWhat::customized).error()) == RenderRefusal::marks);
  for (const char* date : {"", "2025-1-5", "2025-13-01", "yesterday!"}) {
    CHECK(
        Renderer::make("gpt_oss_low_reasoning", test::stand_in_for("gpt-oss"), {.current_date = date})
            .error()
            .message.starts_with(
                "the renderer gpt_oss_low_reasoning needs the option current_date, the date that its system message says, as YYYY-MM-DD"));
  }
  CHECK(!Renderer::make("gpt_oss_low_reasoning", test::stand_in_for("gpt-oss")));
}

TEST_CASE("gpt-oss's answers come apart by channel and recipient") {
  const ChatFormat f("gpt-oss", "gpt_oss_no_sysprompt");
  CHECK(f.parsed("<|channel|>analysis<|message|>t<|end|><|start|>assistant<|channel|>final<|message|>a<|return|>").message == kThoughtful);
  const auto call = f.parsed(
      "<|channel|>commentary<|message|>c<|end|><|start|>assistant to=functions.f<|channel|>commentary <|constrain|>json<|message|> "
      "{\"x\":1} <|call|>");
  CHECK(call.message.content == Parts{TextPart{"c"}});
  CHECK(call.message.tool_calls == std::vector<ToolCall>{{"f", "{\"x\":1}"}});
  CHECK(call.termination == Termination::stop_sequence);
  CHECK(f.parsed("<|channel|>final<|message|>a<|end|><|start|>assistant to=functions.f<|channel|>commentary<|message|>{x<|call|>")
            .message.unparsed_tool_calls.size() == 1);
  CHECK(f.parsed(" to=functions.f<|call|>").message.unparsed_tool_calls.size() == 1);
  CHECK(f.parsed("<|channel|>analysis<|message|> \n<|end|><|start|>assistant<|channel|>final<|message|>a<|return|>").message.content ==
        Parts{TextPart{"a"}});
  CHECK(f.parsed("x<|call|>y<|return|>").message.content == "x");
  CHECK(f.parsed("x").termination == Termination::malformed);
  for (const char* twice : {"a<|return|><|return|>", "a<|call|>b<|return|>c<|return|>", "<|return|><|call|><|call|>"}) {
    const auto refused = f.renderer->parse_response(f.tokenizer->encode(twice, SpecialText::recognise).value());
    REQUIRE(!refused);
    CHECK(refused.error().code == ErrorCode::backend_failed);
  }
}

TEST_CASE("kimi_k2 supplies a system message and a think block to every answer") {
  const ChatFormat f("mock", "kimi_k2"), kept("mock", "kimi_k2", {.strip_thinking_from_history = false});
  const std::string s = "<|im_system|>system<|im_middle|>You are Kimi, an AI assistant created by Moonshot AI.<|im_end|>",
                    u = "<|im_user|>user<|im_middle|>", a = "<|im_assistant|>assistant<|im_middle|>", e = "<|im_end|>";
  CHECK(f.prompt({}) == s + a);
  CHECK(f.prompt({{.role = "tool_declare", .content = "[]"}, kQuestion}) ==
        "<|im_system|>tool_declare<|im_middle|>[]" + e + s + u + "q" + e + a);
  CHECK(f.prompt({{.role = "tool_declare", .content = "[]"}, {.role = "system", .content = "x"}}) ==
        "<|im_system|>tool_declare<|im_middle|>[]" + e + "<|im_system|>system<|im_middle|>x" + e + a);
  CHECK(f.prompt({kQuestion, kThoughtful, kNext}) == s + u + "q" + e + a + "<think></think>a" + e + u + "r" + e + a);
  CHECK(kept.prompt({kQuestion, kThoughtful, kNext}) == s + u + "q" + e + a + "<think>t</think>a" + e + u + "r" + e + a);
  // The last turn begins behind the last answer that calls no tool.
  auto thoughtful_call = kThoughtful;
  thoughtful_call.tool_calls = {{"f", "{}"}};
  CHECK(f.prompt({kQuestion, thoughtful_call, kToolResult}) ==
        s + u + "q" + e + a +
            "<think>t</think>a<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{}<|tool_call_end|>"
            "<|tool_calls_section_end|>" +
            e + "<|im_system|>f<|im_middle|>## Return of id1\n72" + e + a);
  const std::vector<Message> all{kQuestion, kThoughtful, kNext, kAnswer};
  CHECK(f.spans(all) ==
        WeightedSpans{{s + u + "q" + e + a + "<think></think>a" + e + u + "r" + e + a, 0.0f}, {"<think></think>a" + e, 1.0f}});
  CHECK(f.renderer->build_supervised_examples(all).value().size() == 1);
  const auto examples = f.renderer->build_supervised_examples(all, TrainOnWhat::all_assistant_messages).value();
  REQUIRE(examples.size() == 2);
  CHECK(weighted_spans(examples[0], *f.tokenizer).value().back() == std::pair<std::string, float>("<think>t</think>a" + e, 1.0f));
}

TEST_CASE("kimi_k2's answers come apart into thinking, text and tool calls") {
  const ChatFormat f("mock", "kimi_k2");
  const auto call =
      f.parsed(
           "<think>t</think>a<|tool_calls_section_begin|><|tool_call_begin|> functions.f:0 <|tool_call_argument_begin|> {\"x\":1} "
           "<|tool_call_end|>"
           "<|tool_call_begin|>functions.g:1<|tool_call_argument_begin|>{<|tool_call_end|><|tool_calls_section_end|>z<|im_end|>")
          .message;
  CHECK(call.content == kThoughtful.content);
  CHECK(call.tool_calls == std::vector<ToolCall>{{"f", "{\"x\":1}", "functions.f:0"}});
  CHECK(call.unparsed_tool_calls.size() == 1);
  CHECK(f.parsed("a<|tool_call_section_begin|><|tool_call_begin|>f:0<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_call_section_end|"
                 "><|im_end|>")
            .message.tool_calls == std::vector<ToolCall>{{"f", "{}", "f:0"}});
}

TEST_CASE("a renderer is recommended by a model's name, and nothing is guessed") {
  CHECK(recommended_renderer("Qwen/Qwen3-8B:step-100").value().name == "qwen3");
  CHECK(recommended_renderer("Qwen/Qwen3-8B").value().why == "renderer qwen3, which tinker-cookbook recommends for Qwen/Qwen3-8B");
  CHECK(recommended_renderer("deepseek-ai/DeepSeek-V3.1").value().name == "deepseekv3");
  CHECK(recommended_renderer("meta-llama/Llama-3.2-1B").value().name == "role_colon");
  for (const auto& [model, why] :
       {std::pair{"Qwen3-8B", "it is not of the form organisation/model"}, std::pair{"Qwen/Qwen3/8B", "it is not of the form"},
        std::pair{"nobody/Qwen3-8B", "the organisation is unknown"}, std::pair{"Qwen/Qwen4", "the organisation's model is unknown"},
        std::pair{"Qwen/Qwen3-VL-30B-A3B-Instruct", "it was trained with qwen3_vl_instruct, which does not exist here"}}) {
    CAPTURE(model);
    CHECK(recommended_renderer(model).error().message.find(why) != std::string::npos);
  }
}

TEST_CASE("a question as JSON is answered, refused by the format, or no question") {
  const auto tokenizer = test::stand_in_for("qwen3");
  const auto answer = [&](const char* question) {
    const auto got = answer_render_case(boost::json::parse(question), "line 7", tokenizer);
    return got ? boost::json::serialize(*got) : got.error().message;
  };
  CHECK(answer(R"({"kind":"generation_prompt","renderer":"qwen3","messages":[],"args":{"prefill":"x"}})") ==
        R"({"text":"<|im_start|>assistant\nx","tokens":[257,97,115,115,105,115,116,97,110,116,10,120],"chunk_lengths":[11,1]})");
  CHECK(
      answer(
          R"({"kind":"supervised","renderer":"role_colon","messages":[{"role":"user","content":"q"}],"args":{"train_on_what":"all_messages"}})")
          .find(R"("weights_rle":[[0,5],[1,12]],"spans":[["User:",0],[" q\n\n<UNUSED>",1]],"chunk_lengths":[5,4,8]})") !=
      std::string::npos);
  CHECK(answer(R"({"kind":"parse_response","renderer":"qwen3","response_text":"a<|im_end|>"})") ==
        R"({"message":{"role":"assistant","content":"a"},"termination":"stop_sequence"})");
  CHECK(answer(R"({"kind":"parse_response","renderer":"qwen3","response_tokens":[258,258]})")
            .starts_with(R"({"error_type":"RendererError","error":"an answer holds <|im_end|> 2 times)"));
  CHECK(answer(R"({"kind":"supervised_examples","renderer":"qwen3","messages":[],"args":{"train_on_what":"all_tokens"}})")
            .starts_with(R"({"error_type":"NotImplementedError",)"));
  CHECK(
      answer(R"({"kind":"supervised","renderer":"qwen3","messages":[{"role":"user","content":"q"}],"args":{"train_on_what":"customized"}})")
          .starts_with(R"({"error_type":"AssertionError",)"));
  CHECK(answer(R"({"kind":"supervised","renderer":"qwen3","messages":[],"args":{"train_on_what":"x"}})")
            .starts_with(R"({"error_type":"RendererError",)"));
  CHECK(answer(R"({"kind":"properties","renderer":"qwen3_instruct"})") ==
        R"({"stop_sequences":[258],"stop_as_text":["<|im_end|>"],"bos_text":"","has_extension_property":true,"disables_thinking":false})");
  for (const auto& [question, message] : {
           std::pair{"7", "line 7: not an object with `kind` and `renderer`"},
           std::pair{R"({"renderer":"qwen3"})", "line 7: kind is missing; a string is needed"},
           std::pair{
               R"({"kind":"x","renderer":"qwen3"})",
               "line 7: kind \"x\" is unknown; accepted: generation_prompt, supervised, supervised_examples, parse_response, properties"},
           std::pair{R"({"kind":"properties","renderer":"qwen3","option":1})", "line 7: unknown key \"option\"; accepted: "},
           std::pair{R"({"kind":"properties","renderer":"qwen3","renderer_options":{"current_date":"2025-01-15"}})",
                     "line 7: the renderer qwen3 has no option current_date; accepted: strip_thinking_from_history"},
           std::pair{R"({"kind":"properties","renderer":"qwen3","renderer_options":{"strip_thinking_from_history":1}})",
                     "line 7: renderer_options.strip_thinking_from_history is neither true nor false"},
           std::pair{R"({"kind":"generation_prompt","renderer":"qwen3","messages":[{"role":"user"}]})",
                     "line 7: messages[0].content is missing"},
           std::pair{R"({"kind":"parse_response","renderer":"qwen3","response_tokens":[9999]})",
                     "line 7: response_tokens: token 9999 is outside"},
           std::pair{R"({"kind":"parse_response","renderer":"qwen3","response_tokens":[-1]})",
                     "line 7: response_tokens holds something that is no token's id"},
       }) {
    CAPTURE(question);
    CHECK(answer(question).starts_with(message));
  }
}
