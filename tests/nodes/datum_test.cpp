#include "nodes/datum.hpp"

#include <doctest/doctest.h>

#include <boost/json/parse.hpp>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace {

namespace json = boost::json;
using namespace pipestill;

std::vector<std::int64_t> ints(const Datum& d, const std::string& key) {
  return std::get<std::vector<std::int64_t>>(d.loss_fn_inputs.at(key).data);
}
std::vector<float> floats(const Datum& d, const std::string& key) { return std::get<std::vector<float>>(d.loss_fn_inputs.at(key).data); }

std::filesystem::path conformance() {
  if (const char* directory = std::getenv("PIPESTILL_CONFORMANCE_DIR")) return directory;
  return std::filesystem::path(PIPESTILL_SOURCE_DIR) / ".." / "shared" / "conformance";
}

/// One case of the reference; false if it is about images, which ModelInput has none of, or about a reduction that does not exist here.
bool agrees_with_reference(const json::object& c) {
  ModelInput input;
  for (const auto& chunk : c.at("chunks").as_array()) {
    if (!chunk.is_array()) return false;
    EncodedTextChunk text;
    for (const auto& token : chunk.as_array()) text.tokens.push_back(token.to_number<Token>());
    input.chunks.push_back(std::move(text));
  }
  std::vector<float> weights;
  for (const auto& w : c.at("weights").as_array()) weights.push_back(w.to_number<float>());
  const auto& max = c.at("max_length");
  const auto max_length = max.is_null() ? std::nullopt : std::optional(max.to_number<std::size_t>());
  const std::string reduction(c.at("reduction").as_string());
  if (reduction != "none" && reduction != "mean") return false;
  const auto datum =
      datum_from_model_input_weights(input, weights, max_length, reduction == "mean" ? WeightReduction::mean : WeightReduction::none);

  const auto& expect = c.at("expect").as_object();
  INFO(std::string(c.at("id").as_string()));
  if (expect.contains("error_type")) {
    CHECK(!datum);
    return true;
  }
  REQUIRE(datum);
  std::vector<std::vector<Token>> chunks;
  for (const auto& chunk : expect.at("input_chunks").as_array()) {
    auto& tokens = chunks.emplace_back();
    for (const auto& token : chunk.as_array()) tokens.push_back(token.to_number<Token>());
  }
  std::vector<std::vector<Token>> actual;
  for (const auto& chunk : datum->model_input.chunks) actual.push_back(chunk.tokens);
  CHECK(actual == chunks);
  std::vector<std::int64_t> targets;
  for (const auto& token : expect.at("target_tokens").as_array()) targets.push_back(token.to_number<std::int64_t>());
  CHECK(ints(*datum, "target_tokens") == targets);
  CHECK(datum->loss_fn_inputs.at("target_tokens").shape == std::vector<std::int64_t>{static_cast<std::int64_t>(targets.size())});
  const auto got = floats(*datum, "weights");
  const auto& hex = expect.at("weights_hex").as_array();
  REQUIRE(got.size() == hex.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    const float wanted = std::strtof(std::string(hex[i].as_string()).c_str(), nullptr);
    CHECK(got[i] >= std::nextafter(wanted, -INFINITY));  // within a rounding of the reference's sum
    CHECK(got[i] <= std::nextafter(wanted, INFINITY));
    if (reduction == "none") CHECK(got[i] == wanted);
  }
  return true;
}

}  // namespace

TEST_CASE("datums agree with the reference implementation's" * doctest::timeout(30)) {
  std::ifstream file(conformance() / "datum_cases.json");
  if (!file) {
    MESSAGE("skipped: no conformance data at " << conformance().string());
    return;
  }
  std::stringstream text;
  text << file.rdbuf();
  int compared = 0;
  const auto document = json::parse(text.str());
  for (const auto& c : document.as_object().at("cases").as_array()) compared += agrees_with_reference(c.as_object()) ? 1 : 0;
  CHECK(compared >= 40);
}

TEST_CASE("position i predicts token i + 1 with its weight, and the cut is at the right") {
  const std::vector<float> weights{0, 0, 0.5f, 1, 1};
  const auto datum = datum_from_model_input_weights({{{{10, 20}}, {{}}, {{30, 40, 50}}}}, weights, 4);
  REQUIRE(datum);
  CHECK(datum->model_input == ModelInput{{{{10, 20}}, {{30}}}});
  CHECK(ints(*datum, "target_tokens") == std::vector<std::int64_t>{20, 30, 40});
  CHECK(floats(*datum, "weights") == std::vector<float>{0, 0.5f, 1});
  CHECK(trained_positions(*datum) == 2);
}

TEST_CASE("a position with soft targets is trained if one of them has a weight") {
  Datum datum{.model_input = ModelInput::from_ints({1, 2, 3}), .loss_fn_inputs = {}};
  CHECK(trained_positions(datum) == 0);
  datum.loss_fn_inputs["weights"] = {std::vector<float>{0, 0, 0.5f, 0.5f, 0, -1}, {3, 2}};
  CHECK(trained_positions(datum) == 2);
  datum.loss_fn_inputs["weights"] = {std::vector<float>{0, 0, 0.5f, 0.5f, 0, -1}, {6}};
  CHECK(trained_positions(datum) == 3);
}

TEST_CASE("a single token trains nothing, and is refused") {
  const auto datum = datum_from_model_input_weights(ModelInput::from_ints({1}), std::vector<float>{1}, std::nullopt);
  REQUIRE(!datum);
  CHECK(datum.error().code == ErrorCode::invalid_input);
}

TEST_CASE("an answer's tokens follow the prompt as they are, and only they have weight") {
  const auto datum = answer_datum({{{{1, 2}}, {{3}}}}, std::vector<Token>{4, 5}, 100);
  REQUIRE(datum);
  CHECK(datum->model_input == ModelInput{{{{1, 2}}, {{3}}, {{4}}}});
  CHECK(ints(*datum, "target_tokens") == std::vector<std::int64_t>{2, 3, 4, 5});
  CHECK(floats(*datum, "weights") == std::vector<float>{0, 0, 1, 1});
}

TEST_CASE("importance sampling gets the sampler's log-probabilities and the advantages where the answer is predicted") {
  const std::vector<float> sampler{-1.0f, -2.0f, -3.0f}, teacher{-0.5f, -2.5f, -3.0f};
  const auto datum = importance_sampling_datum(ModelInput::from_ints({1, 2}), std::vector<Token>{3, 4, 5}, sampler, teacher, 4);
  REQUIRE(datum);
  CHECK(ints(*datum, "target_tokens") == std::vector<std::int64_t>{2, 3, 4});
  CHECK(floats(*datum, "weights") == std::vector<float>{0, 1, 1});
  CHECK(floats(*datum, "logprobs") == std::vector<float>{0, -1.0f, -2.0f});
  CHECK(floats(*datum, "advantages") == std::vector<float>{0, 0.5f, -0.5f});
  CHECK(!importance_sampling_datum(ModelInput::from_ints({1}), std::vector<Token>{3, 4}, std::vector<float>{-1.0f}, teacher, 4));
}
