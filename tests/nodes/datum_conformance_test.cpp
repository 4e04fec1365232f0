// Datums and shortened prompts, against the reference implementations' own.
#include <doctest/doctest.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "nodes/datum.hpp"
#include "nodes/prompt.hpp"
#include "tests/support/conformance.hpp"

namespace {

namespace json = boost::json;
using namespace pipestill;

std::string string_in(const json::value& value) { return std::string(value.as_string()); }

template <class T>
std::vector<T> numbers_in(const json::value& list) {
  std::vector<T> numbers;
  for (const auto& number : list.as_array()) numbers.push_back(number.to_number<T>());
  return numbers;
}

/// One case of the reference; why it cannot be written here, or nothing.
std::string check_datum(const json::object& c) {
  ModelInput input;
  for (const auto& chunk : c.at("chunks").as_array()) {
    if (!chunk.is_array()) return "images, which no backend here takes";
    input.chunks.push_back({numbers_in<Token>(chunk)});
  }
  const auto reduction = string_in(c.at("reduction"));
  if (reduction != "none" && reduction != "mean") return "a reduction that the type does not have";
  const auto weights = numbers_in<float>(c.at("weights"));
  const auto& max = c.at("max_length");
  const auto datum =
      datum_from_model_input_weights(input, weights, max.is_null() ? std::nullopt : std::optional(max.to_number<std::size_t>()),
                                     reduction == "mean" ? WeightReduction::mean : WeightReduction::none);
  const auto& expect = c.at("expect").as_object();
  INFO(string_in(c.at("id")));
  if (expect.contains("error_type")) {
    REQUIRE(!datum);
    CHECK(datum.error().code == ErrorCode::invalid_input);
    return "";
  }
  REQUIRE(datum);
  std::vector<EncodedTextChunk> chunks;
  for (const auto& chunk : expect.at("input_chunks").as_array()) chunks.push_back({numbers_in<Token>(chunk)});
  CHECK(datum->model_input.chunks == chunks);
  const auto targets = numbers_in<std::int64_t>(expect.at("target_tokens"));
  CHECK(datum->loss_fn_inputs.at("target_tokens") == TensorData{targets, numbers_in<std::int64_t>(expect.at("target_tokens_shape"))});
  const auto& made = datum->loss_fn_inputs.at("weights");
  CHECK(made.shape == numbers_in<std::int64_t>(expect.at("weights_shape")));
  const auto& got = std::get<std::vector<float>>(made.data);
  const auto& hex = expect.at("weights_hex").as_array();
  REQUIRE(got.size() == hex.size());
  // Sums of fractions depend on their order, in the last bit; everything else is equal.
  const bool is_exact = reduction == "none" || std::ranges::all_of(weights, [](float w) { return w == 0 || w == 1; });
  for (std::size_t i = 0; i < got.size(); ++i) {
    const float wanted = std::strtof(string_in(hex[i]).c_str(), nullptr);
    CHECK(got[i] >= (is_exact ? wanted : std::nextafter(wanted, -INFINITY)));
    CHECK(got[i] <= (is_exact ? wanted : std::nextafter(wanted, INFINITY)));
  }
  return "";
}

}  // namespace

TEST_CASE("datums agree with the reference implementation's") {
  const auto data = test::conformance_dir();
  if (!data) {
    std::puts(test::kNoConformance);
    return;
  }
  std::map<std::string, int> counts;
  const auto document = test::read_json(*data / "datum_cases.json");
  for (const auto& c : document.at("cases").as_array()) ++counts[check_datum(c.as_object())];
  for (const auto& [why, n] : counts) std::printf("datum_cases.json: %d %s%s\n", n, why.empty() ? "compared" : "left out: ", why.c_str());
  CHECK(counts[""] >= 44);
}

// Of the two expected results the product follows the Elixir library's: encoded without special tokens. The cookbook counts a bos token
// that the vocabulary puts before a text, and leaves its text in the message.
TEST_CASE("prompts are shortened as the reference implementation shortens them") {
  const auto data = test::conformance_dir();
  if (!data) {
    std::puts(test::kNoConformance);
    return;
  }
  std::map<std::string, Result<std::shared_ptr<const Tokenizer>>> vocabularies;
  std::map<std::string, int> compared, left_out;
  const auto document = test::read_json(*data / "prompt_truncation_cases.json");
  for (const auto& c : document.at("cases").as_array()) {
    const auto name = string_in(c.at("tokenizer"));
    if (!vocabularies.contains(name)) vocabularies.emplace(name, Tokenizer::load((*data / "tokenizers" / name).string()));
    const auto& tokenizer = vocabularies.at(name);
    // A vocabulary that is there and cannot be read is no reason to compare less.
    REQUIRE(tokenizer.has_value() == std::filesystem::exists(*data / "tokenizers" / name));
    if (!tokenizer) {
      ++left_out[name + ": " + tokenizer.error().message];
      continue;
    }
    CAPTURE(string_in(c.at("id")));
    const auto& most = c.at("max_prompt_tokens");
    const PromptRenderer prompts{nullptr, *tokenizer, most.is_null() ? std::nullopt : std::optional(most.to_number<std::size_t>())};
    Row row{.where = "row", .conversation = {{.role = "user", .content = string_in(c.at("prompt"))}}};
    REQUIRE(prompts.truncate(row));
    CHECK(row.conversation[0].content == string_in(c.at("elixir_result")));
    ++compared[name];
  }
  for (const auto& [name, n] : compared) std::printf("prompt_truncation_cases.json: %d over %s\n", n, name.c_str());
  for (const auto& [why, n] : left_out) std::printf("prompt_truncation_cases.json: %d left out, no vocabulary for %s\n", n, why.c_str());
}
