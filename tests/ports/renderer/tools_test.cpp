// How tools are declared to a model, over stand-ins for the vocabularies; tests/oracles/compare_tools.py compares with tinker-cookbook.
#include <doctest/doctest.h>

#include <boost/json/parse.hpp>
#include <string>
#include <vector>

#include "ports/renderer/render_case.hpp"
#include "ports/renderer/renderer.hpp"
#include "ports/renderer/tools.hpp"
#include "tests/support/stand_in_tokenizer.hpp"

using namespace pipestill;

namespace {

const char* const kWeather = R"({"name": "get_weather", "description": "Now", "parameters": {"type": "object",
  "properties": {"zone": {"type": "string", "enum": ["a", "é"]}, "days": {"type": "integer", "description": "Ahead", "default": 1.0}}, "required": ["zone"]}})";
const char* const kWeatherPrinted =
    R"({"name": "get_weather", "description": "Now", "parameters": {"type": "object", "properties": {"zone": {"type": "string", "enum": ["a", "\u00e9"]}, )"
    R"("days": {"type": "integer", "description": "Ahead", "default": 1.0}}, "required": ["zone"]}})";

std::vector<ToolSpec> tools_in(const std::string& text) { return tools_from_json(boost::json::parse(text), "t").value(); }
std::string tools_error(const std::string& text) {
  const auto tools = tools_from_json(boost::json::parse(text), "t");
  return tools ? "" : tools.error().message;
}
std::vector<ToolSpec> weather() { return tools_in("[" + std::string(kWeather) + "]"); }

std::shared_ptr<const Renderer> format_of(const char* vocabulary, const char* name) { return Renderer::make(name, test::stand_in_for(vocabulary)).value(); }

std::vector<Message> declared(const char* vocabulary, const char* name, std::vector<Message> messages, const std::vector<ToolSpec>& tools = weather()) {
  return with_tools(*format_of(vocabulary, name), tools, std::move(messages)).value();
}

const Message kAsk{.role = "user", .content = "q"}, kBrief{.role = "system", .content = "Be brief."};

}  // namespace

TEST_CASE("tools are read as functions, bare or wrapped, in the order of their keys") {
  const auto tools = tools_in("[" + std::string(kWeather) + R"(, {"type": "function", "function": {"name": "f"}}])");
  REQUIRE(tools.size() == 2);
  CHECK(tools[0].name == "get_weather");
  CHECK(tools[0].description == "Now");
  CHECK(tools[0].function.dumps() == kWeatherPrinted);
  REQUIRE(tools[0].parameters());
  CHECK(tools[1].name == "f");
  CHECK(!tools[1].description);
  CHECK(!tools[1].parameters());
  CHECK(tools[1].function.dumps() == R"({"name": "f"})");
  CHECK(tools_in("null").empty());
  const auto nulls = tools_in(R"([{"name": "f", "description": null, "parameters": null}])");
  CHECK(!nulls[0].description);
  CHECK(!nulls[0].parameters());
  CHECK(nulls[0].function.dumps() == R"({"name": "f", "description": null, "parameters": null})");
}

TEST_CASE("what is no list of functions is refused with its place") {
  CHECK(tools_error("{}") == "t is not a list of functions");
  CHECK(tools_error("[1]").starts_with("t[0] is not an object"));
  CHECK(tools_error(R"([{"name": ""}])").starts_with("t[0].name is missing"));
  CHECK(tools_error(R"([{"name": "f"}, {"name": 1}])").starts_with("t[1].name is missing"));
  CHECK(tools_error(R"([{"name": "f", "description": 1}])").starts_with("t[0].description is not a string"));
  CHECK(tools_error(R"([{"name": "f", "parameters": []}])").starts_with("t[0].parameters is not an object"));
  for (const auto* wrong : {R"([{"type": "retrieval", "function": {"name": "f"}}])", R"([{"type": "function", "name": "f"}])", R"([{"type": "function", "function": {"name": "f"}, "strict": true}])"}) {
    CHECK(tools_error(wrong).starts_with("t[0] is neither a function"));
  }
  CHECK(tools_error(R"([{"type": "function", "function": {"type": "function", "function": {"name": "f"}}}])").starts_with("t[0].function is neither a function"));
  CHECK(tools_error(R"([{"type": "function", "function": {"name": 1}}])").starts_with("t[0].function.name"));
  CHECK(tools_error(R"([{"name": "f", "parameters": {"a": [1, {"b": 1e20}]}}])").starts_with("t[0] holds a number of more than 64 bits"));
  boost::json::array many(kMaxTools + 1, boost::json::object{{"name", "f"}});
  CHECK(!tools_from_json(many, "t"));
}

TEST_CASE("qwen3 declares tools behind the system's words") {
  const auto one = declared("qwen3", "qwen3", {kBrief, kAsk});
  REQUIRE(one.size() == 2);
  CHECK(one[0] == Message{.role = "system",
                          .content = std::string("Be brief.\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
                                                 "You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n"
                                                 "{\"type\": \"function\", \"function\": ") +
                                     kWeatherPrinted +
                                     "}\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
                                     "<tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>"});
  CHECK(one[1] == kAsk);
  const auto none = declared("qwen3", "qwen3_instruct", {kAsk});
  REQUIRE(none.size() == 2);
  CHECK(none[0].content.said().starts_with("# Tools\n"));
}

TEST_CASE("deepseekv3 declares tools in its card's words, and only without thinking") {
  const auto all = declared("deepseek_v3", "deepseekv3", {kBrief, kAsk}, tools_in(R"([{"name": "f", "description": "F", "parameters": {}}, {"name": "g", "description": "G", "parameters": {"a": 1}}])"));
  REQUIRE(all.size() == 2);
  CHECK(all[0].content.said().starts_with("Be brief.\n\n## Tools\nYou have access to the following tools:\n\n### f\nDescription: F\n\nParameters: {}\n### g\nDescription: G\n\n"
                                          "Parameters: {\"a\": 1}\n\nIMPORTANT: ALWAYS adhere"));
  CHECK(all[0].content.said().ends_with("\n- For multiple tool calls, chain them directly without separators or spaces"));
  CHECK(with_tools(*format_of("deepseek_v3", "deepseekv3"), tools_in(R"([{"name": "f"}])"), {kAsk}).error().message.find("f lacks one") != std::string::npos);
  const auto thinking = with_tools(*format_of("deepseek_v3", "deepseekv3_thinking"), weather(), {kAsk});
  REQUIRE(!thinking);
  CHECK(thinking.error().code == ErrorCode::invalid_input);
}

TEST_CASE("gpt-oss declares tools as a namespace of types") {
  const auto all = declared("gpt-oss", "gpt_oss_no_sysprompt", {kBrief, kAsk});
  REQUIRE(all.size() == 3);
  CHECK(all[0].content.said() == "Calls to these tools must go to the commentary channel: 'functions'.");
  CHECK(all[1] == Message{.role = "developer",
                          .content = "# Instructions\n\nBe brief.\n\n# Tools\n\n## functions\n\nnamespace functions {\n\n"
                                     "// Now\ntype get_weather = (_:\n{\nzone: \"a\" | \"\\u00e9\",\n// Ahead\ndays?: number, // default: 1.0\n}) => any;\n\n"
                                     "} // namespace functions"});
  const auto tokenizer = test::stand_in_for("gpt-oss");
  const auto prompt = format_of("gpt-oss", "gpt_oss_no_sysprompt")->build_generation_prompt(all);
  REQUIRE(prompt);
  CHECK(tokenizer->decode(prompt->to_ints()).value().starts_with("<|start|>system<|message|>Calls to these tools"));
}

TEST_CASE("gpt-oss's types follow the schema") {
  const auto type_of = [](const std::string& schema) {
    const auto all = declared("gpt-oss", "gpt_oss_no_sysprompt", {}, tools_in(R"([{"name": "f", "parameters": {"type": "object", "properties": {"p": )" + schema + "}}}]"));
    const auto text = all.at(1).content.said();
    const auto begin = text.find("p?: ") + 4;
    return text.substr(begin, text.find(",\n})") - begin);
  };
  CHECK(type_of(R"({"type": "boolean"})") == "boolean");
  CHECK(type_of(R"({"type": "string", "nullable": true})") == "string | null");
  CHECK(type_of(R"({"type": "array", "items": {"type": "integer"}})") == "number[]");
  CHECK(type_of(R"({"type": "array"})") == "any[]");
  CHECK(type_of(R"({"type": ["string", "null"]})") == "string | any");
  CHECK(type_of(R"({"anyOf": [{"type": "number"}, {"type": "string", "enum": ["x"]}]})") == "number | \"x\"");
  CHECK(type_of(R"({"type": "object", "properties": {"a": {"type": "number"}, "b": {}}, "required": ["b"]})") == "{ a?: number, b: any }");
  CHECK(type_of(R"({"oneOf": [{"anyOf": []}, {"type": "string"}]})") == " | string");
  CHECK(type_of(R"({"type": ["array", ["object", "integer"]], "items": {"type": "string"}})") == "any[] | {  } | number");
  CHECK(type_of(R"({"type": "object", "properties": {"größe": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "null"}}}}}, "required": ["größe"], "nullable": true})") ==
        "{ größe: { x?: any }[] } | null");
  CHECK(type_of("true") == "any");
  CHECK(declared("gpt-oss", "gpt_oss_no_sysprompt", {}, tools_in(R"([{"name": "f"}])")).at(1).content.said().find("type f = () => any;") != std::string::npos);
}

TEST_CASE("gpt-oss's comments say what a schema says of a parameter") {
  const auto all = declared("gpt-oss", "gpt_oss_no_sysprompt", {}, tools_in(R"([{"name": "f", "parameters": {"type": "object", "description": "About f", "properties": {
      "a": {"type": "string", "title": "T", "description": "D", "examples": ["x", 2], "default": null}}}}])"));
  CHECK(all.at(1).content.said() ==
        "# Tools\n\n## functions\n\nnamespace functions {\n\ntype f = (_: // About f\n{\n// T\n// \n// D\n// Examples:\n// - \"x\"\n// - 2\na?: string, // default: null\n}) => any;\n\n"
        "} // namespace functions");
}

TEST_CASE("gpt-oss's types of many required properties are written in no time") {
  boost::json::object properties;
  boost::json::array required;
  for (int i = 0; i < 100'000; ++i) properties["p" + std::to_string(i)] = boost::json::object{{"type", "string"}};
  for (int i = 100'000; i-- > 0;) required.push_back(boost::json::value("p" + std::to_string(i)));
  const boost::json::array tools{boost::json::object{{"name", "f"}, {"parameters", {{"type", "object"}, {"properties", properties}, {"required", required}}}}};
  const auto all = declared("gpt-oss", "gpt_oss_no_sysprompt", {}, tools_from_json(tools, "t").value());
  CHECK(all.at(1).content.said().find("\np99999: string,\n})") != std::string::npos);
}

TEST_CASE("kimi_k2 declares tools before the system's words, in sorted JSON without spaces") {
  const auto all = declared("mock", "kimi_k2", {kBrief, kAsk}, tools_in(R"([{"name": "f", "description": "F", "parameters": {"b": [1, 2], "a": 1}}])"));
  REQUIRE(all.size() == 3);
  CHECK(all[0] == Message{.role = "tool_declare", .content = R"([{"function":{"description":"F","name":"f","parameters":{"a":1,"b":[1,2]}},"type":"function"}])"});
  CHECK(all[1] == kBrief);
  const auto sorted = declared("mock", "kimi_k2", {kAsk}, tools_in(R"([{"name": "f", "parameters": {"é": 1, "z": 2, "Z": 3, "🙂": 4, "日": 5}}])"));
  CHECK(sorted[0].content.said() == R"([{"function":{"name":"f","parameters":{"Z":3,"z":2,"\u00e9":1,"\u65e5":5,"\ud83d\ude42":4}},"type":"function"}])");
  const auto tokenizer = test::stand_in_for("mock");
  const auto prompt = format_of("mock", "kimi_k2")->build_generation_prompt(declared("mock", "kimi_k2", {kAsk}));
  REQUIRE(prompt);
  const auto text = tokenizer->decode(prompt->to_ints()).value();
  CHECK(text.starts_with("<|im_system|>tool_declare<|im_middle|>[{"));
  CHECK(text.find("<|im_system|>system<|im_middle|>You are Kimi") != std::string::npos);
}

TEST_CASE("a format without tools refuses them, and no tools change nothing") {
  const auto refused = with_tools(*format_of("qwen3", "role_colon"), weather(), {kAsk});
  REQUIRE(!refused);
  CHECK(refused.error().code == ErrorCode::invalid_input);
  CHECK(refused.error().message.find("role_colon") != std::string::npos);
  CHECK(with_tools(*format_of("qwen3", "role_colon"), {}, {kBrief, kAsk}).value() == std::vector<Message>{kBrief, kAsk});
}

TEST_CASE("in a marked conversation the declaration has the mark of the message that it takes the place of") {
  auto brief = kBrief, ask = kAsk;
  brief.trainable = true;
  ask.trainable = false;
  CHECK(declared("qwen3", "qwen3", {brief, ask}).front().trainable == true);
  CHECK(declared("qwen3", "qwen3", {ask}).front().trainable == false);
  CHECK(!declared("qwen3", "qwen3", {kAsk}).front().trainable);
  const Message answer{.role = "assistant", .content = "a", .trainable = true};
  for (const auto& [vocabulary, name] : {std::pair{"qwen3", "qwen3"}, {"gpt-oss", "gpt_oss_no_sysprompt"}, {"mock", "kimi_k2"}}) {
    INFO(name);
    CHECK(format_of(vocabulary, name)->build_supervised_example(declared(vocabulary, name, {ask, answer}), TrainOnWhat::customized));
  }
}

TEST_CASE("a question with tools is answered with them, or refused by name") {
  const auto ask = [](const std::string& tools) {
    return answer_render_case(boost::json::parse(R"({"kind": "generation_prompt", "renderer": "qwen3", "messages": [{"role": "user", "content": "q"}], "tools": )" + tools + "}"), "line 1",
                              test::stand_in_for("qwen3"));
  };
  const auto answer = ask("[" + std::string(kWeather) + "]");
  REQUIRE(answer);
  CHECK(std::string(answer->at("text").get_string()).find("<tools>\n{\"type\": \"function\"") != std::string::npos);
  const auto refused = ask("3");
  REQUIRE(!refused);
  CHECK(refused.error().message == "line 1: tools is not a list of functions");
}
