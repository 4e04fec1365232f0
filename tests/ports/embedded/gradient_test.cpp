// The gradients of the decoder against finite differences, in double, through the functions that training uses.
#include <doctest/doctest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>

#include "ports/embedded/decoder_loss.hpp"
#include "ports/embedded/random.hpp"
#include "tests/ports/embedded/support.hpp"

using namespace pipestill;
using namespace pipestill::embedded;

namespace {

struct Setup {
  explicit Setup(const ModelConfig& config) : layout(make_layout(config)), rotary(config, config.max_position_embeddings) {
    const auto weights = draw_weights(config, 11);
    flat.assign(weights.flat.begin(), weights.flat.end());
    for (std::size_t i = 0; i < flat.size(); ++i) flat[i] += 0.1 * (uniform(3, i) - 0.5);  // norms that are not all ones
    gradient.resize(flat.size());
    const std::vector<Datum> datums{test::make_datum({1, 5, 3, 9, 2, 2, 7}, {0, 0, 1, 0.5f, 0, 2}), test::make_datum({4, 4, 1}, {1, 1}),
                                    test::make_datum({8, 3, 8, 3, 8, 3, 8, 3, 8, 3, 8, 1, 2}, {0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 0})};
    batch = test::value_of(pack(datums, {"cross_entropy", Normalization::seq_mean}, config));
  }
  double loss(bool with_gradient) {
    const Parameters<double> parameters(layout, flat.data(), gradient.data());
    const Pass<double> pass{layout, rotary, batch, 1};
    const auto value = decoder_loss(parameters, pass);
    if (with_gradient) torch::autograd::backward({value.differentiable}, {});
    return value.value;
  }

  ModelLayout layout;
  RotaryTable<double> rotary;
  PackedBatch batch;
  std::vector<double> flat, gradient;
};

}  // namespace

TEST_CASE("every tensor's gradient agrees with finite differences") {
  for (const auto family : {ModelConfig::Family::llama, ModelConfig::Family::qwen3}) {
    auto config = test::small_config();
    config.vocab_size = 11;
    config.hidden_size = 20;
    config.head_dim = 6;  // tails that fill no vector
    config.intermediate_size = 18;
    config.family = family;
    config.tie_word_embeddings = family == ModelConfig::Family::llama;
    Setup setup(config);
    setup.loss(true);
    const auto gradient = setup.gradient;
    constexpr double kStep = 1e-5;
    for (const auto& tensor : setup.layout.tensors) {
      CAPTURE(tensor.name);
      double worst = 0, size = 0;
      for (int k = 0; k < 12; ++k) {
        const auto i = static_cast<std::size_t>(tensor.offset + static_cast<std::int64_t>(random_bits(7, static_cast<std::uint64_t>(k)) %
                                                                                          static_cast<std::uint64_t>(tensor.count)));
        const double x = setup.flat[i];
        setup.flat[i] = x + kStep;
        const double above = setup.loss(false);
        setup.flat[i] = x - kStep;
        const double below = setup.loss(false);
        setup.flat[i] = x;
        worst = std::max(worst, std::abs((above - below) / (2 * kStep) - gradient[i]));
        size = std::max(size, std::abs(gradient[i]));
      }
      CHECK(worst < 1e-8);
      CHECK(size > 0);
    }
  }
}

TEST_CASE("float32 gradients are those of double, to its precision") {
  const auto config = test::small_config();
  const auto weights = draw_weights(config, 4);
  const auto batch = test::value_of(pack(test::make_batch(20), {}, config));
  const auto layout = make_layout(config);

  std::vector<double> flat(weights.flat.begin(), weights.flat.end()), gradient(flat.size());
  const Parameters<double> wide(layout, flat.data(), gradient.data());
  const RotaryTable<double> wide_rotary(config, config.max_position_embeddings);
  const Pass<double> wide_pass{layout, wide_rotary, batch, 1};
  const auto reference = decoder_loss(wide, wide_pass);
  torch::autograd::backward({reference.differentiable}, {});

  auto narrow_flat = weights.flat;
  std::vector<float> narrow_gradient(flat.size());
  const Parameters<float> narrow(layout, narrow_flat.data(), narrow_gradient.data());
  const RotaryTable<float> rotary(config, config.max_position_embeddings);
  const Pass<float> pass{layout, rotary, batch, 2};
  const auto loss = decoder_loss(narrow, pass);
  torch::autograd::backward({loss.differentiable}, {});

  CHECK(loss.value == doctest::Approx(reference.value).epsilon(1e-6));
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < flat.size(); ++i) {
    difference += std::pow(static_cast<double>(narrow_gradient[i]) - gradient[i], 2);
    norm += gradient[i] * gradient[i];
  }
  CHECK(std::sqrt(difference / norm) < 1e-5);
}
