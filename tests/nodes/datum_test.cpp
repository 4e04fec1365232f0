#include "nodes/datum.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace {

using namespace pipestill;

std::vector<std::int64_t> ints(const Datum& d, const std::string& key) {
  return std::get<std::vector<std::int64_t>>(d.loss_fn_inputs.at(key).data);
}
std::vector<float> floats(const Datum& d, const std::string& key) { return std::get<std::vector<float>>(d.loss_fn_inputs.at(key).data); }

}  // namespace

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
