#include "ports/datum_digest.hpp"

#include <doctest/doctest.h>

#include <set>
#include <utility>

using namespace pipestill;

namespace {

Datum sample_datum() {
  return {
      .model_input = {{{{1, 2}}, {{3}}}},
      .loss_fn_inputs = {{"target_tokens", {std::vector<std::int64_t>{2, 3, 4}, {3}}}, {"weights", {std::vector<float>{0, 1, 1}, {3}}}}};
}

}  // namespace

TEST_CASE("a digest of datums is the same for the same datums, on every machine") {
  const std::vector<Datum> datums{sample_datum()};
  CHECK(datum_digest(datums) == datum_digest(std::vector<Datum>{sample_datum()}));
  CHECK(datum_digest(datums) == "8255968c4bfef7362c5b5d1d008be71ed1c3a41f22cf2ef1bb210fb4337b20bb");
}

TEST_CASE("a digest of datums changes with every part of them") {
  std::vector<std::vector<Datum>> variants{{}, {sample_datum()}, {sample_datum(), sample_datum()}, {Datum{}}, {Datum{}, Datum{}}};
  const auto add = [&](auto change) { change(variants.emplace_back(std::vector{sample_datum()}).front()); };
  add([](Datum& d) { d.model_input.chunks = {{{1}}, {{2, 3}}}; });
  add([](Datum& d) { d.model_input.chunks[1].tokens[0] = 4; });
  add([](Datum& d) { std::get<std::vector<float>>(d.loss_fn_inputs["weights"].data)[0] = -0.0f; });
  add([](Datum& d) { d.loss_fn_inputs["weights"].shape = {3, 1}; });
  add([](Datum& d) { d.loss_fn_inputs["weights"].data = std::vector<std::int64_t>{0, 1, 1}; });
  add([](Datum& d) {
    auto node = d.loss_fn_inputs.extract("weights");
    node.key() = "advantages";
    d.loss_fn_inputs.insert(std::move(node));
  });
  using Soft = std::pair<std::vector<std::int64_t>, float>;
  for (const auto& [shape, last] : std::vector<Soft>{{{3, 2}, 0.0f}, {{2, 3}, 0.0f}, {{6}, 0.0f}, {{3, 2}, 0.5f}}) {
    add([&shape = shape, last = last](Datum& d) {
      d.loss_fn_inputs["target_tokens"] = {std::vector<std::int64_t>{2, 3, 4, 5, 6, 0}, shape};
      d.loss_fn_inputs["weights"] = {std::vector<float>{0.5f, 0.5f, 1, 0, 0.25f, last}, shape};
    });
  }
  std::set<std::string> digests;
  for (const auto& datums : variants) digests.insert(datum_digest(datums));
  CHECK(digests.size() == variants.size());
}
