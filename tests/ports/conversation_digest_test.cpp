#include "ports/conversation_digest.hpp"

#include <doctest/doctest.h>

#include <boost/json/parse.hpp>
#include <set>

using namespace pipestill;

namespace {

std::vector<ToolSpec> tools_of(const char* text) { return tools_from_json(boost::json::parse(text), "tools").value(); }

}  // namespace

TEST_CASE("a conversation's digest sees every text, every border between two texts, and everything that may be missing") {
  const std::vector<std::vector<Message>> conversations{
      {},
      {{.role = "user", .content = "ab"}},
      {{.role = "userab", .content = ""}},
      {{.role = "user", .content = "a"}, {.role = "user", .content = "b"}},
      {{.role = "user", .content = std::vector<ContentPart>{}}},
      {{.role = "user", .content = std::vector<ContentPart>{TextPart{"ab"}}}},
      {{.role = "user", .content = std::vector<ContentPart>{ThinkingPart{"ab"}}}},
      {{.role = "user", .content = std::vector<ContentPart>{TextPart{"a"}, TextPart{"b"}}}},
      {{.role = "user", .content = "ab", .tool_calls = {{.name = "f", .arguments = "{}"}}}},
      {{.role = "user", .content = "ab", .tool_calls = {{.name = "f", .arguments = "{}", .id = ""}}}},
      {{.role = "user", .content = "ab", .tool_calls = {{.name = "f{}", .arguments = ""}}}},
      {{.role = "user", .content = "ab", .unparsed_tool_calls = {{.raw_text = "f", .error = "{}"}}}},
      {{.role = "user", .content = "ab", .trainable = false}},
      {{.role = "user", .content = "ab", .trainable = true}},
      {{.role = "user", .content = "ab", .tool_call_id = ""}},
      {{.role = "user", .content = "ab", .tool_call_id = "x"}},
      {{.role = "user", .content = "ab", .name = "x"}},
  };
  std::set<Sha256Digest> digests;
  for (const auto& conversation : conversations) {
    CHECK(digests.insert(conversation_digest(conversation, {})).second);
    CHECK(conversation_digest(conversation, {}) == conversation_digest(conversation, {}));
  }
}

TEST_CASE("the tools that a row declares count, with the order of their keys") {
  const std::vector<Message> one{{.role = "user", .content = "ab"}};
  std::set<Sha256Digest> digests{conversation_digest(one, {})};
  for (const char* text : {R"([{"name":"f"}])", R"([{"name":"g"}])", R"([{"name":"f"},{"name":"g"}])", R"([{"name":"f","description":"d"}])",
                           R"([{"description":"d","name":"f"}])", R"([{"name":"f","parameters":{"type":"object"}}])"}) {
    INFO(text);
    CHECK(digests.insert(conversation_digest(one, tools_of(text))).second);
  }
}
