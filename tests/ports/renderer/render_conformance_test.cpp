// All of conformance/render through answer_render_case(), which is what `pipestill render --jsonl` does with a line.
#include <doctest/doctest.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <map>
#include <string>

#include "ports/renderer/render_case.hpp"
#include "tests/support/conformance.hpp"
#include "tests/support/stand_in_tokenizer.hpp"

using namespace pipestill;

namespace {

namespace json = boost::json;

std::string string_of(const json::value& value) { return std::string(value.as_string()); }

/// A real vocabulary where it is there and can be read, else one that knows the same special tokens.
struct Vocabulary {
  std::shared_ptr<const Tokenizer> tokenizer;
  bool is_real = false;
};
Vocabulary vocabulary_of(const std::filesystem::path& data, const std::string& name) {
  if (auto real = Tokenizer::load((data / "tokenizers" / name).string())) return {*std::move(real), true};
  return {test::stand_in_for(name), false};
}

/// Whether the answer ends with a token that ends texts, which response_text does not show.
bool ends_with_eos(const json::object& question) {
  const auto* tokens = question.if_contains("response_tokens");
  if (!tokens || tokens->as_array().empty()) return false;
  const std::map<std::string, std::int64_t> eos{{"llama3", 128009}, {"qwen3", 151645}, {"deepseek_v3", 1}, {"gpt-oss", 200002}};
  return tokens->as_array().back().as_int64() == eos.at(string_of(question.at("tokenizer")));
}

/// Of messages from Python's json module only what stands before the colon counts.
void cut_json_errors(json::object& message) {
  auto* calls = message.if_contains("unparsed_tool_calls");
  if (!calls) return;
  for (auto& call : calls->as_array()) {
    auto error = string_of(call.at("error"));
    if (error.starts_with("Invalid JSON: ")) call.at("error") = error.substr(0, error.find(": "));
  }
}

/// What both answers must agree on. Ids, numbers of tokens and the ids of stops are the vocabulary's.
json::object comparable(json::object answer, bool is_real) {
  answer.erase("error");
  if (auto* message = answer.if_contains("message")) cut_json_errors(message->as_object());
  if (auto* examples = answer.if_contains("examples")) {
    for (auto& example : examples->as_array()) example = comparable(example.as_object(), is_real);
  }
  if (is_real) return answer;
  for (const char* key : {"tokens", "weights_rle", "stop_sequences"}) answer.erase(key);
  if (const auto* lengths = answer.if_contains("chunk_lengths")) answer["chunk_lengths"] = lengths->as_array().size();
  return answer;
}

void compare_file(const char* file, std::size_t cases) {
  const auto data = test::conformance_dir();
  if (!data) {
    std::puts(test::kNoConformance);
    return;
  }
  std::map<std::string, Vocabulary> vocabularies;
  std::map<std::string, std::size_t> compared;
  std::size_t different = 0, all = 0;
  const auto document = test::read_json(*data / "render" / file);
  for (const auto& c : document.at("cases").as_array()) {
    auto question = c.as_object();
    const auto name = string_of(question.at("tokenizer"));
    if (!vocabularies.contains(name)) vocabularies[name] = vocabulary_of(*data, name);
    const auto& [tokenizer, is_real] = vocabularies.at(name);
    // A vocabulary that is there and cannot be read is no reason to compare less.
    REQUIRE(is_real == std::filesystem::exists(*data / "tokenizers" / name));
    REQUIRE_MESSAGE(tokenizer, "no vocabulary and no stand-in for " << name);
    const auto expected = comparable(question.at("expect").as_object(), is_real);
    const bool is_response = question.contains("response_text");
    if (is_response && !is_real) {
      auto text = string_of(question.at("response_text"));
      const auto eos = tokenizer->eos() ? *tokenizer->decode(std::vector{*tokenizer->eos()}) : "";
      if (ends_with_eos(question) && !text.ends_with(eos)) text += eos;
      question["response_text"] = text;
      question.erase("response_tokens");
    }
    if (is_response && is_real) question.erase("response_text");
    const auto answer = answer_render_case(question, "case", tokenizer);
    auto actual = answer ? comparable(*answer, is_real) : json::object{{"not answered", answer.error().message}};
    if (!expected.contains("chunk_lengths")) actual.erase("chunk_lengths");
    ++all;
    ++compared[string_of(question.at("kind")) + " over " + name +
               (is_real ? "" : " (a stand-in: texts, spans, numbers of chunks, errors; no ids)")];
    if (actual == expected) continue;
    if (++different <= 5) {
      MESSAGE(string_of(question.at("id")), "\n  expected ", json::serialize(expected), "\n  got      ", json::serialize(actual));
    }
  }
  for (const auto& [what, n] : compared) std::printf("%s: %zu %s\n", file, n, what.c_str());
  std::printf("%s: %zu cases, %zu different\n", file, all, different);
  CHECK(all >= cases);
  CHECK(different == 0);
}

}  // namespace

TEST_CASE("render conformance: role_colon") { compare_file("role_colon.json", 401); }
TEST_CASE("render conformance: llama3") { compare_file("llama3.json", 124); }
TEST_CASE("render conformance: qwen3") { compare_file("qwen3.json", 524); }
TEST_CASE("render conformance: deepseek_v3") { compare_file("deepseek_v3.json", 511); }
TEST_CASE("render conformance: gpt_oss") { compare_file("gpt_oss.json", 506); }
TEST_CASE("render conformance: kimi_k2") { compare_file("kimi_k2.json", 253); }
