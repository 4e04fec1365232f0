// The gradients of the decoder against finite differences, in double, through the functions that training uses.
#include <cmath>
#include <string>

#include "tests/ports/embedded/decoder_support.hpp"

using namespace pipestill;
using namespace pipestill::embedded;
using pipestill::test::TestDecoder;

namespace {

constexpr double kStep = 1e-5;

/// (loss(x + h d) - loss(x - h d)) / 2h, with the direction d on the elements that begin at `offset`.
double slope(TestDecoder<double>& decoder, const std::vector<PackedBatch>& batches, std::int64_t offset,
             const std::vector<double>& direction) {
  const auto begin = decoder.flat.begin() + static_cast<std::ptrdiff_t>(offset);
  const std::vector<double> here(begin, begin + static_cast<std::ptrdiff_t>(direction.size()));
  const auto loss_at = [&](double step) {
    for (std::size_t i = 0; i < here.size(); ++i) begin[static_cast<std::ptrdiff_t>(i)] = here[i] + step * direction[i];
    return decoder.loss(batches, false);
  };
  const double above = loss_at(kStep), below = loss_at(-kStep);
  std::copy(here.begin(), here.end(), begin);
  return (above - below) / (2 * kStep);
}

/// Two random directions of length 1 in the tensor, and three of its coordinates.
std::vector<std::vector<double>> directions_in(const TensorPlace& tensor, std::uint64_t seed) {
  const auto n = static_cast<std::size_t>(tensor.count);
  std::vector<std::vector<double>> directions;
  for (std::uint64_t k = 0; k < 2; ++k) {
    auto& direction = directions.emplace_back(n);
    for (std::size_t i = 0; i < n; ++i) direction[i] = uniform(seed + k, i) - 0.5;
    const double length = test::norm_of(direction);
    for (auto& x : direction) x /= length;
  }
  for (std::uint64_t k = 0; k < 3; ++k) directions.emplace_back(n)[random_bits(seed, k) % n] = 1;
  return directions;
}

/// Every tensor's gradient over micro-batches of `rows` against the slopes of the whole batch's loss.
void check_gradient(const ModelConfig& config, const std::vector<Datum>& datums, Normalization normalization, std::size_t rows) {
  TestDecoder<double> decoder(config);
  const auto whole = test::value_of(pack(datums, {"cross_entropy", normalization}, config));
  const auto micro = test::value_of(pack(datums, {"cross_entropy", normalization, rows}, config));
  REQUIRE((whole.size() == 1 && (rows == 0 || micro.size() > 1)));
  const double loss = decoder.loss(micro, true);
  CHECK(loss == doctest::Approx(decoder.loss(whole, false)).epsilon(1e-14));
  // The difference quotient errs by h^2/6 times the third derivative and by the loss's own rounding over h; both are near 1e-10 here.
  const double bound = 1e-8 * std::max(1.0, test::norm_of(decoder.gradient));
  for (const auto& tensor : decoder.layout.tensors) {
    CAPTURE(tensor.name);
    double size = 0;
    for (const auto& direction : directions_in(tensor, 7)) {
      double expected = 0;
      for (std::size_t i = 0; i < direction.size(); ++i)
        expected += decoder.gradient[static_cast<std::size_t>(tensor.offset) + i] * direction[i];
      CHECK(std::abs(slope(decoder, whole, tensor.offset, direction) - expected) < bound);
      size = std::max(size, std::abs(expected));
    }
    CHECK(size > 0);
  }
}

}  // namespace

TEST_CASE("every tensor's gradient agrees with finite differences") {
  for (const auto& config : test::tiny_configs()) {
    CAPTURE(config.has_head_norms());
    CAPTURE(config.tie_word_embeddings);
    for (const auto normalization : {Normalization::token_mean, Normalization::seq_mean, Normalization::sum}) {
      CAPTURE(static_cast<int>(normalization));
      check_gradient(config, test::hard_datums(), normalization, 0);
      check_gradient(config, test::soft_datums(), normalization, 1);
    }
  }
}

TEST_CASE("float32 gradients are those of double, to its precision") {
  for (auto config : test::tiny_configs()) {
    config.vocab_size = 40;
    auto datums = test::make_batch(20);
    for (auto& datum : test::soft_datums()) datums.push_back(std::move(datum));
    for (const std::size_t rows : {0u, 3u}) {
      const auto batches = test::value_of(pack(datums, {"cross_entropy", Normalization::token_mean, rows}, config));
      TestDecoder<double> wide(config);
      TestDecoder<float> narrow(config);
      const double reference = wide.loss(batches, true);
      CHECK(narrow.loss(batches, true) == doctest::Approx(reference).epsilon(1e-6));
      CHECK(test::distance(narrow.gradient, wide.gradient) < 1e-5 * test::norm_of(wide.gradient));
    }
  }
}
