#include "ports/embedded/ragged_decoder.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <random>

#include "tests/ports/embedded/support.hpp"

using namespace pipestill;
using namespace pipestill::embedded;

namespace {

Model model_of(const ModelConfig& config) {
  return {std::make_shared<Weights>(draw_weights(config, 3)), std::make_shared<RotaryTable<float>>(config, config.max_position_embeddings)};
}

std::vector<Token> random_tokens(std::mt19937& engine, std::size_t count, int vocab_size) {
  std::vector<Token> tokens(count);
  for (auto& t : tokens) t = static_cast<Token>(engine() % static_cast<unsigned>(vocab_size));
  return tokens;
}

/// Logits at every position of `tokens`, in one step.
std::vector<float> in_one_step(RaggedDecoder& decoder, const std::vector<Token>& tokens) {
  KeyValueCache cache;
  cache.reset(decoder.model().config(), static_cast<int>(tokens.size()));
  const RaggedRow row{&cache, tokens, true};
  std::vector<float> all;
  decoder.step({&row, 1}, [&](std::int64_t, std::int64_t n, const float* logits) {
    all.insert(all.end(), logits, logits + n * decoder.model().config().vocab_size);
  });
  return all;
}

/// A cache that another row has used: longer, and full of what no sum survives.
void spoil(KeyValueCache& cache, const ModelConfig& config, int positions) {
  cache.reset(config, positions);
  const auto size = static_cast<std::ptrdiff_t>(config.head_dim) * cache.capacity();
  for (int layer = 0; layer < config.num_hidden_layers; ++layer) {
    for (int head = 0; head < config.num_key_value_heads; ++head) {
      std::fill_n(cache.keys(layer, head), size, std::numeric_limits<float>::quiet_NaN());
      std::fill_n(cache.values(layer, head), size, std::numeric_limits<float>::infinity());
    }
  }
}

}  // namespace

TEST_CASE("logits do not depend on how a row was split into steps, nor on what its cache held before") {
  auto llama = test::small_config();
  llama.max_position_embeddings = 300;
  for (const auto& config : {test::odd_config(), llama}) {
    const auto model = model_of(config);
    const auto vocabulary = static_cast<std::size_t>(config.vocab_size);
    RaggedDecoder decoder(model, 1), threaded(model, 3);
    std::mt19937 engine(7);
    for (const std::size_t length : {1, 2, 8, 9, 40, 97, 230}) {
      CAPTURE(length);
      const auto tokens = random_tokens(engine, length, config.vocab_size);
      const auto whole = in_one_step(decoder, tokens);
      REQUIRE(whole.size() == length * vocabulary);
      for (int trial = 0; trial < 6; ++trial) {
        KeyValueCache cache;
        spoil(cache, config, static_cast<int>(length) + trial * 23);
        cache.reset(config, static_cast<int>(length));
        const std::size_t longest = std::array{1, 2, 5, 13, 60, 300}[static_cast<std::size_t>(trial)];
        for (std::size_t at = 0; at < length;) {
          const auto n = std::min(length - at, 1 + engine() % longest);
          // Some steps want every logit, some the last, and a companion comes along to some.
          KeyValueCache other_cache;
          const auto other = random_tokens(engine, 1 + engine() % 30, config.vocab_size);
          other_cache.reset(config, 30);
          std::vector<RaggedRow> rows{{&cache, std::span(tokens).subspan(at, n), trial % 2 == 0}};
          if (engine() % 2) rows.insert(rows.begin(), RaggedRow{&other_cache, other, false});
          std::vector<float> got;
          (engine() % 2 ? decoder : threaded).step(rows, [&](std::int64_t, std::int64_t count, const float* logits) {
            got.insert(got.end(), logits, logits + count * config.vocab_size);
          });
          const std::size_t wanted = trial % 2 == 0 ? n : 1;
          REQUIRE(got.size() == (wanted + rows.size() - 1) * vocabulary);
          CHECK(std::memcmp(got.data() + got.size() - wanted * vocabulary, whole.data() + (at + n - wanted) * vocabulary,
                            wanted * vocabulary * sizeof(float)) == 0);
          at += n;
        }
        CHECK(cache.length() == static_cast<int>(length));
      }
    }
  }
}
