#include "ports/renderer/message_json.hpp"

#include <doctest/doctest.h>

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

using namespace pipestill;

namespace {

const Message kWhole{.role = "tool",
                     .content = std::vector<ContentPart>{ThinkingPart{"t"}, TextPart{"é"}},
                     .tool_calls = {{"f", "{\"x\": 1}", "call_1"}, {"g", "{}"}},
                     .unparsed_tool_calls = {{"<tool_call>", "why"}},
                     .trainable = false,
                     .tool_call_id = "call_0",
                     .name = "n"};

}  // namespace

TEST_CASE("a message is the same after it was written as JSON and read") {
  const std::string text =
      R"({"role":"tool","content":[{"type":"thinking","thinking":"t"},{"type":"text","text":"é"}],)"
      R"("tool_calls":[{"type":"function","id":"call_1","function":{"name":"f","arguments":"{\"x\": 1}"}},)"
      R"({"type":"function","id":null,"function":{"name":"g","arguments":"{}"}}],)"
      R"("unparsed_tool_calls":[{"raw_text":"<tool_call>","error":"why"}],"trainable":false,"tool_call_id":"call_0","name":"n"})";
  CHECK(boost::json::serialize(message_to_json(kWhole)) == text);
  CHECK(message_from_json(boost::json::parse(text), "m").value() == kWhole);
  const Message plain{.role = "user", .content = ""};
  CHECK(boost::json::serialize(message_to_json(plain)) == R"({"role":"user","content":""})");
  CHECK(message_from_json(message_to_json(plain), "m").value() == plain);
  // An API's nulls say that something is not there.
  CHECK(message_from_json(boost::json::parse(R"({"role":"user","content":"","name":null,"trainable":null,"tool_calls":null})"), "m")
            .value() == plain);
  CHECK(message_from_json(boost::json::parse(R"({"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]})"), "m")
            .value() == Message{.role = "assistant", .content = "", .tool_calls = {{"f", "{}"}}});
}

TEST_CASE("a text and a list of that text are different contents") {
  CHECK(MessageContent("a") != MessageContent(std::vector<ContentPart>{TextPart{"a"}}));
  CHECK(kWhole.content.said() == "é");
  CHECK(kWhole.content.bytes() == 3);
  CHECK(MessageContent(std::vector<ContentPart>{}).is_empty());
  CHECK(!MessageContent(std::vector<ContentPart>{TextPart{""}}).is_empty());
  CHECK(text_bytes(kWhole) == 4 + 3 + (1 + 8 + 6) + (1 + 2) + (11 + 3) + 6 + 1);
}

TEST_CASE("a message of another form is refused with its place") {
  for (const auto& [text, message] : {
           std::pair{"7", "m[0] is not an object"},
           std::pair{R"({"content":"c"})", "m[0].role is missing; a string is needed"},
           std::pair{R"({"role":1,"content":"c"})", "m[0].role is not a string"},
           std::pair{R"({"role":"user","content":null})", "m[0].content is missing; a string or a list of parts is needed"},
           std::pair{R"({"role":"user","content":null,"tool_calls":[]})", "m[0].content is missing; a string or a list of parts is needed"},
           std::pair{R"({"role":"user","content":7})", "m[0].content is neither a string nor a list of parts"},
           std::pair{R"({"role":"user","content":["a"]})", "m[0].content[0] is not a part with a `type`; accepted: text, thinking"},
           std::pair{R"({"role":"user","content":[{"type":"image","image":"x"}]})",
                     "m[0].content[0].type is \"image\"; accepted: text, thinking"},
           std::pair{R"({"role":"user","content":[{"type":"text","thinking":"x"}]})",
                     "m[0].content[0] has the unknown key \"thinking\"; accepted: type, text"},
           std::pair{R"({"role":"user","content":"","Name":"x"})",
                     "m[0] has the unknown key \"Name\"; accepted: role, content, tool_calls, unparsed_tool_calls, trainable, "
                     "tool_call_id, name"},
           std::pair{R"({"role":"user","content":"","trainable":1})", "m[0].trainable is neither true nor false"},
           std::pair{R"({"role":"user","content":"","tool_calls":{}})", "m[0].tool_calls is not a list"},
           std::pair{R"({"role":"user","content":"","tool_calls":[{"type":"x"}]})", "m[0].tool_calls[0].type is \"x\"; accepted: function"},
           std::pair{R"({"role":"user","content":"","tool_calls":[{"function":{"name":"f","arguments":{}}}]})",
                     "m[0].tool_calls[0].function.arguments is not a string"},
       }) {
    const auto read = messages_from_json(boost::json::array{boost::json::parse(text)}, "m");
    REQUIRE(!read);
    CHECK(read.error().code == ErrorCode::invalid_input);
    CHECK(read.error().message == message);
  }
  CHECK(messages_from_json(boost::json::array(kMaxMessages + 1), "m").error().message == "m has 10001 elements; at most 10000 are read");
}
