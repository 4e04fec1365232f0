#pragma once
// Where each tensor of a decoder lies in one flat array of numbers.
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "graph/base/error.hpp"
#include "ports/embedded/model_config.hpp"

namespace pipestill {

/// One tensor, by its Hugging Face name.
struct TensorPlace {
  std::string name;
  std::vector<std::int64_t> shape;  ///< (rows, columns) of a matrix that maps columns to rows, or (n)
  std::int64_t offset = 0;          ///< first element in the flat array
  std::int64_t count = 0;
  double init_std = 0;  ///< of the normal distribution of fresh weights; 0: all ones
};

/// Tensors that are multiplied with the same input lie side by side, so that they are one matrix: query, key and value
/// projection are `qkv`, gate and up projection `gate_up`. The numbers are offsets in the flat array.
struct LayerPlaces {
  std::int64_t input_norm = 0, qkv = 0, query_norm = 0, key_norm = 0, output = 0, post_norm = 0, gate_up = 0, down = 0;
};

struct ModelLayout {
  ModelConfig config;
  std::vector<TensorPlace> tensors;  ///< in the order of the flat array, which they fill without a hole
  std::vector<LayerPlaces> layers;
  std::int64_t embedding = 0, final_norm = 0;
  std::int64_t head = 0;  ///< the output matrix; the embedding if tied
  std::int64_t total = 0;

  [[nodiscard]] int qkv_width() const { return (config.num_attention_heads + 2 * config.num_key_value_heads) * config.head_dim; }
  [[nodiscard]] int attention_width() const { return config.num_attention_heads * config.head_dim; }
};

/// Fresh matrices have standard deviation 1/sqrt(hidden_size); those that write into the residual stream are scaled by
/// 1/sqrt(2 layers) as in GPT-2, the down projection by its own width besides.
[[nodiscard]] ModelLayout make_layout(const ModelConfig& config);

}  // namespace pipestill
