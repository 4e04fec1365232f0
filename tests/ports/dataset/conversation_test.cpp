#include "ports/dataset/conversation.hpp"

#include <doctest/doctest.h>

#include <boost/json/parse.hpp>
#include <string>

using namespace pipestill;

namespace {

DatasetRow row_of(const std::string& json) { return {boost::json::parse(json).as_object(), "train.jsonl:17"}; }

}  // namespace

TEST_CASE("the first source of a conversation wins") {
  const auto only_text = [](const std::string& json) {
    const auto messages = prompt_conversation(row_of(json)).value();
    REQUIRE(messages.size() == 1);
    CHECK(messages[0].role == "user");
    return messages[0].content.said();
  };
  CHECK(only_text(R"({"prompt":"p","instruction":"i","input":"n","text":"t"})") == "p");
  CHECK(only_text(R"({"input":"n","instruction":"i"})") == "i");
  CHECK(only_text(R"({"text":"t","input":"n"})") == "n");
  CHECK(only_text(R"({"text":"t","input":{"problem":"p"}})") == "t");
  CHECK(only_text(R"({"input":{"question":"q","problem":"p"}})") == "p");
  CHECK(only_text(R"({"input":{"question":"q","problem":1}})") == "q");
  CHECK(only_text(R"({"messages":"oops","prompt":5,"text":""})") == "");
  CHECK(prompt_conversation(row_of(R"({"messages":[],"prompt":"p"})")).value().empty());
}

TEST_CASE("a row's messages keep what renderers write: parts, thinking, tool calls and their answers") {
  const std::string messages = R"({"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}],"name":"bob","tool_call_id":"x","id":5},
    {"role":"assistant","trainable":true,"content":[{"type":"thinking","thinking":"t"},{"type":"text","text":"c"}],
     "tool_calls":[{"type":"function","id":"call_1","function":{"name":"f","arguments":"{}"}}]},
    {"role":"tool","content":"7","tool_call_id":"call_1","name":"f"},
    {"role":"assistant","content":"d","tool_calls":null,"trainable":false}]})";
  std::vector<Message> expected{
      {.role = "user", .content = std::vector<ContentPart>{TextPart{"a"}, TextPart{"b"}}},
      {.role = "assistant",
       .content = std::vector<ContentPart>{ThinkingPart{"t"}, TextPart{"c"}},
       .tool_calls = {{"f", "{}", "call_1"}},
       .trainable = true},
      {.role = "tool", .content = "7", .tool_call_id = "call_1", .name = "f"},
      {.role = "assistant", .content = "d", .trainable = false},
  };
  CHECK(supervised_conversation(row_of(messages)).value() == expected);
  for (auto& message : expected) message.trainable.reset();  // of a prompt nothing is trained
  CHECK(prompt_conversation(row_of(messages)).value() == expected);
}

TEST_CASE("a row without a usable conversation is refused with its place") {
  for (const char* wrong :
       {R"({})", R"({"prompt":5})", R"({"input":["a"]})", R"({"messages":{"role":"user"}})", R"({"messages":[5]})",
        R"({"messages":[{"content":"c"}]})", R"({"messages":[{"role":"user"}]})", R"({"messages":[{"role":"user","content":null}]})",
        R"({"messages":[{"role":"user","content":[{"type":"thinking","text":"t"}]}]})",
        R"({"messages":[{"role":"user","content":[{"type":"image","image":"x"}]}]})",
        R"({"messages":[{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{}}}]}]})",
        R"({"messages":[{"role":"user","content":"c","trainable":1}]})"}) {
    CAPTURE(wrong);
    const auto messages = prompt_conversation(row_of(wrong));
    REQUIRE(!messages);
    CHECK(messages.error().code == ErrorCode::invalid_input);
    CHECK(messages.error().message.starts_with("train.jsonl:17: "));
  }
  const auto error =
      prompt_conversation(row_of(R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":7}]})")).error();
  CHECK(error.message == "train.jsonl:17: messages[1].content is neither a string nor a list of parts");
}

TEST_CASE("a supervised row ends with the assistant's message") {
  CHECK(supervised_conversation(row_of(R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]})"))
            .value()
            .size() == 2);
  for (const char* wrong : {R"({"prompt":"p"})", R"({"messages":[]})", R"({"messages":[{"role":"user","content":"q"}]})"}) {
    CAPTURE(wrong);
    const auto messages = supervised_conversation(row_of(wrong));
    REQUIRE(!messages);
    CHECK(messages.error().message.starts_with("train.jsonl:17: "));
  }
}

TEST_CASE("a row declares tools, or none; what is no list of functions is refused with its place") {
  CHECK(declared_tools(row_of(R"({"prompt":"p"})")).value().empty());
  CHECK(declared_tools(row_of(R"({"prompt":"p","tools":null})")).value().empty());
  const auto tools = declared_tools(row_of(R"({"messages":[],"tools":[{"type":"function","function":{"name":"f"}}]})")).value();
  REQUIRE(tools.size() == 1);
  CHECK(tools[0].name == "f");
  CHECK(declared_tools(row_of(R"({"tools":[1]})")).error().message.starts_with("train.jsonl:17: tools[0] is not an object"));
}
