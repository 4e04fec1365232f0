#pragma once
// A model's numbers in memory.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "graph/base/error.hpp"
#include "ports/embedded/model_layout.hpp"
#include "ports/types.hpp"

namespace pipestill::embedded {

/// All parameters in one flat array, laid out as `layout` says.
struct Weights {
  ModelLayout layout;
  std::vector<float> flat;

  [[nodiscard]] const float* at(std::int64_t offset) const { return flat.data() + offset; }
};

/// Fresh weights: every number is a function of seed, tensor and element alone. Norms are ones, matrices normal with the
/// layout's deviation (Box and Muller's transform of two counter-based uniforms, in double).
[[nodiscard]] Weights draw_weights(const ModelConfig& config, std::uint64_t seed);

/// Weights from a directory in the Hugging Face layout.
[[nodiscard]] Result<Weights> load_weights(const std::filesystem::path& directory);

/// The reverse: config.json and model.safetensors, into a directory that exists; each is there whole or not at all.
[[nodiscard]] Result<void> save_weights(const Weights& weights, const std::filesystem::path& directory);

/// The weights that find_model_files() finds, or fresh ones. A configuration alone needs `seed`, and without one is an error.
[[nodiscard]] Result<Weights> open_model(const ModelRef& model, const std::uint64_t* seed);

/// Cosines and sines of the rotary angles, position * rotary_frequencies(), each [positions, head_dim / 2]. Sampler and trainer both use
/// it.
template <class T>
struct RotaryTable {
  int half = 0;
  std::vector<T> cosine, sine;

  RotaryTable(const ModelConfig& config, int positions);
  [[nodiscard]] const T* cosine_at(int position) const { return cosine.data() + static_cast<std::ptrdiff_t>(position) * half; }
  [[nodiscard]] const T* sine_at(int position) const { return sine.data() + static_cast<std::ptrdiff_t>(position) * half; }
};
extern template struct RotaryTable<float>;
extern template struct RotaryTable<double>;

/// A model that no longer changes, shared by all who compute with it.
struct Model {
  std::shared_ptr<const Weights> weights;
  std::shared_ptr<const RotaryTable<float>> rotary;

  [[nodiscard]] const ModelLayout& layout() const { return weights->layout; }
  [[nodiscard]] const ModelConfig& config() const { return weights->layout.config; }
};

}  // namespace pipestill::embedded
