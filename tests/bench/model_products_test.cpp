#include "bench/model_products.hpp"

#include <doctest/doctest.h>

using namespace pipestill;
using namespace pipestill::bench;

namespace {

ModelConfig config() {
  return {.vocab_size = 50,
          .hidden_size = 24,
          .num_hidden_layers = 3,
          .num_attention_heads = 4,
          .num_key_value_heads = 2,
          .head_dim = 8,
          .intermediate_size = 40,
          .max_position_embeddings = 64,
          .tie_word_embeddings = true};
}

/// Numbers in the matrices: every parameter but the norms, of which a layer has two and the model one more.
double matrix_parameters(const ModelConfig& c) {
  return static_cast<double>(parameter_count(c) - static_cast<std::int64_t>(2 * c.num_hidden_layers + 1) * c.hidden_size);
}

}  // namespace

TEST_CASE("a decode step multiplies every row with every matrix once") {
  CHECK(flops(decode_products(config(), 1)) == 2 * matrix_parameters(config()));
  CHECK(flops(decode_products(config(), 64)) == 64 * 2 * matrix_parameters(config()));
}

TEST_CASE("a training step takes three times a forward pass") {
  CHECK(flops(training_products(config(), 100, 100)) == 3 * 100 * 2 * matrix_parameters(config()));
  std::size_t of_kind[3] = {};
  for (const auto& p : training_products(config(), 100, 40)) ++of_kind[static_cast<std::size_t>(p.kind)];
  for (const auto n : of_kind) CHECK(n == 3 * 4 + 1);
}

TEST_CASE("positions without weight end at the last layer's attention") {
  const auto c = config();
  const double attention = 4 * 8;
  const double behind = attention * c.hidden_size + 3.0 * c.hidden_size * c.intermediate_size + 1.0 * c.hidden_size * c.vocab_size;
  CHECK(flops(training_products(c, 100, 40)) == flops(training_products(c, 100, 100)) - 3 * 2 * 60 * behind);
}
