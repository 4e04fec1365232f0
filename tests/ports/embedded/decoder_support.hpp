#pragma once
// The decoder's loss and gradient in either type, through the functions that training uses.
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "ports/embedded/decoder_loss.hpp"
#include "ports/embedded/random.hpp"
#include "tests/ports/embedded/support.hpp"

namespace pipestill::test {

template <class T>
struct TestDecoder {
  explicit TestDecoder(const ModelConfig& config, std::uint64_t seed = 11)
      : layout(make_layout(config)), rotary(config, config.max_position_embeddings) {
    const auto weights = embedded::draw_weights(config, seed);
    flat.assign(weights.flat.begin(), weights.flat.end());
    for (std::size_t i = 0; i < flat.size(); ++i) {  // norms that are not all ones
      flat[i] = static_cast<T>(static_cast<float>(static_cast<double>(flat[i]) + 0.1 * (embedded::uniform(3, i) - 0.5)));
    }
    gradient.resize(flat.size());
  }

  /// The loss over the micro-batches; with `with_gradient`, `gradient` becomes its gradient.
  double loss(const std::vector<embedded::PackedBatch>& batches, bool with_gradient, int threads = 1) {
    if (with_gradient) std::fill(gradient.begin(), gradient.end(), T(0));
    const embedded::Parameters<T> parameters(layout, flat.data(), gradient.data());
    double value = 0;
    for (const auto& batch : batches) {
      const embedded::Pass<T> pass{layout, rotary, batch, threads};
      const auto sum = decoder_loss(parameters, pass, value);
      if (with_gradient) torch::autograd::backward({sum.differentiable}, {});
      value = sum.value;
    }
    return value;
  }

  ModelLayout layout;
  embedded::RotaryTable<T> rotary;
  std::vector<T> flat, gradient;
};

template <class X>
double norm_of(const std::vector<X>& x) {
  double squares = 0;
  for (const auto v : x) squares += static_cast<double>(v) * static_cast<double>(v);
  return std::sqrt(squares);
}

/// The norm of a - b.
template <class A, class B>
double distance(const std::vector<A>& a, const std::vector<B>& b) {
  std::vector<double> difference(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) difference[i] = static_cast<double>(a[i]) - static_cast<double>(b[i]);
  return norm_of(difference);
}

/// Llama and Qwen3, each with a tied and with a free output matrix; sizes whose tails fill no vector.
inline std::vector<ModelConfig> tiny_configs() {
  std::vector<ModelConfig> configs;
  for (const auto family : {ModelConfig::Family::llama, ModelConfig::Family::qwen3}) {
    for (const bool is_tied : {true, false}) {
      auto config = small_config();
      config.vocab_size = 11;
      config.hidden_size = 20;
      config.head_dim = 6;
      config.intermediate_size = 18;
      config.family = family;
      config.tie_word_embeddings = is_tied;
      configs.push_back(config);
    }
  }
  return configs;
}

/// Three rows of hard targets below 11, with weights that differ and some that are 0.
inline std::vector<Datum> hard_datums() {
  return {make_datum({1, 5, 3, 9, 2, 2, 7}, {0, 0, 1, 0.5f, 0, 2}), make_datum({4, 4, 1}, {1, 1}),
          make_datum({8, 3, 8, 3, 8, 3, 8, 3, 8, 3, 8, 1, 2}, {0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 0})};
}

/// Four rows of soft targets below 11: a token that stands twice in a position, padding, a negative weight, K of 3, 1 and 2, and a row of
/// hard targets among them.
inline std::vector<Datum> soft_datums() {
  return {make_soft_datum({1, 5, 3, 9}, {0, 0, 0, 2, 7, 2, 4, 4, 10, 1, 8, 3},
                          {0, 0, 0, 0.5f, 0.25f, 0.25f, 0.7f, 0.3f, 0, 1.5f, -0.25f, 0}, 3),
          make_soft_datum({4, 4, 1}, {4, 1, 6}, {1, 0, 2}, 1), make_datum({8, 3, 8, 1}, {0, 1, 1}),
          make_soft_datum({2, 9, 2, 9, 2}, {9, 10, 2, 0, 9, 0, 5, 6, 0, 0}, {0.9f, 0.1f, 0.5f, 0.5f, 0.8f, 0.2f, 0.4f, 0.6f, 0, 0}, 2)};
}

}  // namespace pipestill::test
