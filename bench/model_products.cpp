#include "bench/model_products.hpp"

namespace pipestill::bench {
namespace {

/// The products of a pass forwards over `tokens` tokens, `outputs` of them behind the last layer's attention.
std::vector<Product> forward_products(const ModelConfig& c, std::int64_t tokens, std::int64_t outputs) {
  const int attention = c.num_attention_heads * c.head_dim, qkv = attention + 2 * c.num_key_value_heads * c.head_dim;
  std::vector<Product> products;
  for (int layer = 0; layer < c.num_hidden_layers; ++layer) {
    const auto live = layer + 1 == c.num_hidden_layers ? outputs : tokens;
    products.push_back({.rows = tokens, .in = c.hidden_size, .out = qkv});
    products.push_back({.rows = live, .in = attention, .out = c.hidden_size});
    products.push_back({.rows = live, .in = c.hidden_size, .out = 2 * c.intermediate_size});
    products.push_back({.rows = live, .in = c.intermediate_size, .out = c.hidden_size});
  }
  products.push_back({.rows = outputs, .in = c.hidden_size, .out = c.vocab_size});
  return products;
}

}  // namespace

std::vector<Product> decode_products(const ModelConfig& config, std::int64_t rows) { return forward_products(config, rows, rows); }

std::vector<Product> training_products(const ModelConfig& config, std::int64_t positions, std::int64_t targets) {
  auto products = forward_products(config, positions, targets);
  for (auto i = products.size(); i-- > 0;) {
    for (const auto kind : {Product::Kind::backward_input, Product::Kind::backward_weight}) {
      auto product = products[i];
      product.kind = kind;
      products.push_back(product);
    }
  }
  return products;
}

double flops(std::span<const Product> products) {
  double sum = 0;
  for (const auto& p : products) sum += 2.0 * static_cast<double>(p.rows) * p.in * p.out;
  return sum;
}

}  // namespace pipestill::bench
