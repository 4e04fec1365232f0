// What the decoder is given: rows cut into micro-batches, and what each target counts.
#include "ports/embedded/packed_batch.hpp"

#include "tests/ports/embedded/decoder_support.hpp"

using namespace pipestill;
using namespace pipestill::embedded;

namespace {

std::vector<PackedBatch> packed(const std::vector<Datum>& datums, Normalization normalization, std::size_t rows) {
  return test::value_of(pack(datums, {"cross_entropy", normalization, rows}, test::small_config()));
}

/// Row lengths of every micro-batch.
std::vector<std::vector<std::int64_t>> lengths(const std::vector<PackedBatch>& batches) {
  std::vector<std::vector<std::int64_t>> all;
  for (const auto& batch : batches) {
    auto& of_one = all.emplace_back();
    for (std::size_t r = 0; r + 1 < batch.starts.size(); ++r) of_one.push_back(batch.starts[r + 1] - batch.starts[r]);
  }
  return all;
}

}  // namespace

TEST_CASE("micro-batches hold so many rows each, in order, and none without a weight") {
  std::vector<Datum> datums;
  for (int n = 1; n <= 5; ++n) {
    datums.push_back(test::make_datum(std::vector<Token>(static_cast<std::size_t>(n) + 1, 3)));
    datums.push_back(test::make_datum({1, 2, 3}, {0, 0}));
  }
  using Lengths = std::vector<std::vector<std::int64_t>>;
  CHECK(lengths(packed(datums, Normalization::sum, 0)) == Lengths{{1, 2, 3, 4, 5}});
  CHECK(lengths(packed(datums, Normalization::sum, 1)) == Lengths{{1}, {2}, {3}, {4}, {5}});
  CHECK(lengths(packed(datums, Normalization::sum, 2)) == Lengths{{1, 2}, {3, 4}, {5}});
  CHECK(lengths(packed(datums, Normalization::sum, 5)) == Lengths{{1, 2, 3, 4, 5}});
  CHECK(lengths(packed(datums, Normalization::sum, 100)) == Lengths{{1, 2, 3, 4, 5}});
}

TEST_CASE("coefficients are normalised over the whole batch") {
  const std::vector<Datum> datums{test::make_datum({1, 2, 3, 4}, {1, 0, 0.5f}), test::make_datum({1, 2}, {0}),
                                  test::make_soft_datum({5, 6}, {1, 1, 0, 2, 3, 0}, {0.5f, 0.25f, 0, 0, 2, 0}, 3)};
  const auto coefficients = [&](Normalization normalization, std::size_t rows) {
    std::vector<double> all;
    for (const auto& batch : packed(datums, normalization, rows))
      all.insert(all.end(), batch.coefficients.begin(), batch.coefficients.end());
    return all;
  };
  for (const std::size_t rows : {0u, 1u, 2u}) {
    CHECK(coefficients(Normalization::sum, rows) == std::vector<double>{1, 0.5, 0.5, 0.25, 2});
    CHECK(coefficients(Normalization::token_mean, rows) == std::vector<double>{1 / 4.25, 0.5 / 4.25, 0.5 / 4.25, 0.25 / 4.25, 2 / 4.25});
    CHECK(coefficients(Normalization::seq_mean, rows) ==
          std::vector<double>{1 / 1.5 / 2, 0.5 / 1.5 / 2, 0.5 / 2.75 / 2, 0.25 / 2.75 / 2, 2 / 2.75 / 2});
  }
  const auto batch = packed(datums, Normalization::sum, 0)[0];
  CHECK(batch.positions == std::vector<std::int64_t>{0, 2, 3, 4});
  CHECK(batch.target_starts == std::vector<std::int64_t>{0, 2, 4});
  CHECK(batch.entry_starts == std::vector<std::int64_t>{0, 1, 2, 4, 5});
  CHECK(batch.targets == std::vector<Token>{2, 4, 1, 1, 3});
}
