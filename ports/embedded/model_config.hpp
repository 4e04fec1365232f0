#pragma once
// The shape of a decoder: Hugging Face `config.json` of the Llama and Qwen3 families, read strictly.
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "graph/base/error.hpp"

namespace pipestill {

/// How rotary positions are stretched over contexts longer than those of pretraining (formulas: rotary.hpp). Names are those of
/// config.json's "rope_scaling", which newer writers call "rope_parameters".
struct RopeScaling {
  enum class Kind { none, linear, llama3 };

  Kind kind = Kind::none;
  double factor = 1;                         ///< at least 1
  double low_freq_factor = 1;                ///< of llama3
  double high_freq_factor = 4;               ///< of llama3; above low_freq_factor
  int original_max_position_embeddings = 0;  ///< of llama3

  bool operator==(const RopeScaling&) const = default;
};

/// A decoder-only transformer: RMSNorm before attention and MLP, rotary positions, grouped-query attention, SwiGLU, no biases.
/// Field names are those of config.json. A value that read_model_config() returned is consistent and within the limits.
struct ModelConfig {
  enum class Family { llama, qwen3 };  ///< qwen3 normalises every query and key head as well

  Family family = Family::llama;
  int vocab_size = 0;
  int hidden_size = 0;
  int num_hidden_layers = 0;
  int num_attention_heads = 0;
  int num_key_value_heads = 0;  ///< divides num_attention_heads
  int head_dim = 0;             ///< even
  int intermediate_size = 0;
  int max_position_embeddings = 0;
  double rms_norm_eps = 1e-6;
  double rope_theta = 10000;
  RopeScaling rope_scaling = {};
  bool tie_word_embeddings = false;  ///< the output matrix is the embedding

  [[nodiscard]] bool has_head_norms() const { return family == Family::qwen3; }
  bool operator==(const ModelConfig&) const = default;
};

/// `text` is a config.json; `where` names it in errors. What would change the arithmetic and is not supported (rotary scaling of other
/// kinds, biases, sliding windows, quantisation, other activations) is ErrorCode::invalid_input by its name; other keys are ignored.
[[nodiscard]] Result<ModelConfig> parse_model_config(std::string_view text, const std::string& where);
[[nodiscard]] Result<ModelConfig> read_model_config(const std::filesystem::path& file);

/// What parse_model_config() reads, and Hugging Face's loaders too.
[[nodiscard]] std::string to_json(const ModelConfig& config);

/// Numbers in all tensors, a tied output matrix counted once.
[[nodiscard]] std::int64_t parameter_count(const ModelConfig& config);

}  // namespace pipestill
