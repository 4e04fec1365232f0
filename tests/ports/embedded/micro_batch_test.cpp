// The law of micro-batches: how many rows are computed at a time changes the gradient's rounding, and nothing else.
#include <cmath>
#include <limits>

#include "ports/embedded/adamw.hpp"
#include "tests/ports/embedded/decoder_support.hpp"

using namespace pipestill;
using namespace pipestill::embedded;

namespace {

constexpr int kRows = 31;
constexpr AdamParams kAdam{.learning_rate = 1e-3, .eps = 1e-2, .weight_decay = 0.01};

std::vector<Datum> mixed_batch() {
  auto datums = test::make_batch(kRows - 4);
  for (auto& datum : test::soft_datums()) datums.push_back(std::move(datum));
  return datums;
}

/// What one training step gives.
template <class T>
struct Step {
  double loss = 0;
  std::vector<T> gradient, update;
  std::vector<T> weights;
};

template <class T>
Step<T> step(const ModelConfig& config, Normalization normalization, std::size_t rows, int threads = 1) {
  test::TestDecoder<T> decoder(config);
  const auto batches = test::value_of(pack(mixed_batch(), {"cross_entropy", normalization, rows}, config));
  Step<T> result;
  result.loss = decoder.loss(batches, true, threads);
  result.gradient = decoder.gradient;
  result.weights = decoder.flat;
  AdamW<T> optimizer(decoder.flat.size());
  (void)test::value_of(optimizer.step(result.weights, decoder.gradient, kAdam, threads));
  for (std::size_t i = 0; i < decoder.flat.size(); ++i) result.update.push_back(result.weights[i] - decoder.flat[i]);
  return result;
}

/// `gradient_bound` is relative to the gradient's norm.
template <class T>
void check_law(const ModelConfig& config, Normalization normalization, double gradient_bound) {
  const auto whole = step<T>(config, normalization, 0);
  const double size = test::norm_of(whole.gradient);
  REQUIRE(size > 0.1);
  for (const std::size_t rows : {1u, 2u, 4u, 7u, 31u}) {
    CAPTURE(rows);
    const auto micro = step<T>(config, normalization, rows);
    if constexpr (std::is_same_v<T, float>) {
      CHECK(micro.loss == whole.loss);  // no bit of a row depends on its companions, and the sum goes on from one micro-batch to the next
    } else {
      CHECK(micro.loss == doctest::Approx(whole.loss).epsilon(1e-14));  // ATen's products promise no such thing
    }
    const double difference = test::distance(micro.gradient, whole.gradient);
    CHECK(difference <= gradient_bound * size);
    // In the first step m / (sqrt(v) + eps) is g / (|g| + eps), whose slope is 1 / eps at most; and each weight is rounded once or twice.
    const double u = std::numeric_limits<T>::epsilon() / 2;
    CHECK(test::distance(micro.update, whole.update) <=
          kAdam.learning_rate / kAdam.eps * difference + 8 * u * (test::norm_of(whole.weights) + test::norm_of(whole.update)));
    CHECK((micro.gradient == whole.gradient) == (rows == kRows));  // all at once is one micro-batch; fewer do round otherwise
  }
}

}  // namespace

// A gradient is a sum over some 300 targets. Two orders of a sum of n terms differ by 2 n u times the sum of their magnitudes at most, u
// being the unit roundoff; rounding errors are of either sign, so sqrt(n) u, 1e-6 in float32 and 2e-15 in double, is what to expect where
// terms do not cancel. The bounds leave room for terms that do.
TEST_CASE("rows at a time change no loss, and gradient and update by rounding alone") {
  for (auto config : test::tiny_configs()) {
    config.vocab_size = 40;
    CAPTURE(config.has_head_norms());
    CAPTURE(config.tie_word_embeddings);
    for (const auto normalization : {Normalization::token_mean, Normalization::seq_mean, Normalization::sum}) {
      CAPTURE(static_cast<int>(normalization));
      check_law<float>(config, normalization, 1e-6);
      check_law<double>(config, normalization, 1e-14);
    }
  }
}

TEST_CASE("equal rows at a time give equal bits, whatever the threads") {
  auto config = test::tiny_configs().back();
  config.vocab_size = 40;
  for (const std::size_t rows : {0u, 1u, 2u, 4u, 7u}) {
    CAPTURE(rows);
    const auto once = step<float>(config, Normalization::token_mean, rows);
    for (const int threads : {2, 4}) {
      const auto again = step<float>(config, Normalization::token_mean, rows, threads);
      CHECK(again.loss == once.loss);
      CHECK(again.gradient == once.gradient);
      CHECK(again.weights == once.weights);
    }
  }
}
