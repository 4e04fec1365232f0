#include "ports/embedded/weights.hpp"

#include <cmath>
#include <numbers>
#include <utility>

#include "ports/durable_file.hpp"
#include "ports/embedded/model_files.hpp"
#include "ports/embedded/random.hpp"
#include "ports/embedded/rotary.hpp"
#include "ports/embedded/safetensors.hpp"

namespace pipestill::embedded {

Weights draw_weights(const ModelConfig& config, std::uint64_t seed) {
  Weights weights{make_layout(config), {}};
  weights.flat.resize(static_cast<std::size_t>(weights.layout.total));
  std::uint64_t ordinal = 0;
  for (const auto& place : weights.layout.tensors) {
    const auto stream = random_bits(seed, ordinal++);
    auto* out = weights.flat.data() + place.offset;
    for (std::int64_t i = 0; i < place.count; ++i) {
      if (place.init_std == 0) {
        out[i] = 1;
        continue;
      }
      const auto counter = 2 * static_cast<std::uint64_t>(i);
      const double radius = std::sqrt(-2 * std::log(1 - uniform(stream, counter)));
      out[i] = static_cast<float>(place.init_std * radius * std::cos(2 * std::numbers::pi * uniform(stream, counter + 1)));
    }
  }
  return weights;
}

Result<Weights> load_weights(const std::filesystem::path& directory) { return open_model({directory.string(), ""}, nullptr); }

Result<void> save_weights(const Weights& weights, const std::filesystem::path& directory) {
  if (auto done = write_file_atomically(directory / "config.json", to_json(weights.layout.config)); !done) return done;
  return write_safetensors(directory / "model.safetensors", tensor_views(weights.layout, weights.flat), {{"format", "pt"}});
}

Result<Weights> open_model(const ModelRef& model, const std::uint64_t* seed) {
  const auto files = find_model_files(model, seed != nullptr);
  if (!files) return fail(files.error());
  if (!files->weights) return draw_weights(files->config, *seed);
  const auto shards = open_checkpoint(*files->weights);
  if (!shards) return fail(shards.error());
  Weights weights{make_layout(files->config), {}};
  weights.flat.resize(static_cast<std::size_t>(weights.layout.total));
  if (auto done = read_tensors(*shards, weights.layout, weights.flat); !done) return fail(std::move(done.error()));
  return weights;
}

template <class T>
RotaryTable<T>::RotaryTable(const ModelConfig& config, int positions) : half(config.head_dim / 2) {
  cosine.reserve(static_cast<std::size_t>(positions) * static_cast<std::size_t>(half));
  sine.reserve(cosine.capacity());
  const auto frequency = rotary_frequencies(config);
  for (int t = 0; t < positions; ++t) {
    for (int j = 0; j < half; ++j) {
      const double angle = t * frequency[static_cast<std::size_t>(j)];
      cosine.push_back(static_cast<T>(std::cos(angle)));
      sine.push_back(static_cast<T>(std::sin(angle)));
    }
  }
}
template struct RotaryTable<float>;
template struct RotaryTable<double>;

}  // namespace pipestill::embedded
