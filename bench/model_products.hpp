#pragma once
// The matrix products of an embedded model's decode and training steps.
#include <cstdint>
#include <span>
#include <vector>

#include "ports/embedded/model_config.hpp"

namespace pipestill::bench {

/// One product as ports/embedded/gemm.hpp makes it: `rows` of activations and a weight [out, in].
struct Product {
  enum class Kind { forward, backward_input, backward_weight };
  Kind kind = Kind::forward;
  std::int64_t rows = 0;
  int in = 0, out = 0;
  bool operator==(const Product&) const = default;
};

/// Of one decode step over `rows` rows, one token each.
[[nodiscard]] std::vector<Product> decode_products(const ModelConfig& config, std::int64_t rows);
/// Of one forward and backward pass over `positions` positions, of which `targets` have weight: behind the last layer's attention only these
/// are computed.
[[nodiscard]] std::vector<Product> training_products(const ModelConfig& config, std::int64_t positions, std::int64_t targets);

/// Floating-point operations: two for each multiplication and addition.
[[nodiscard]] double flops(std::span<const Product> products);

}  // namespace pipestill::bench
