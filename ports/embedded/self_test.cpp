#include "ports/embedded/self_test.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "ports/embedded/ragged_decoder.hpp"
#include "ports/embedded/random.hpp"

namespace pipestill::embedded {
namespace {

constexpr std::size_t kRows = 64;
constexpr std::size_t kAloneStride = 9;  // every ninth row is computed alone
constexpr int kMaxTokens = 5;

}  // namespace

Result<void> check_batch_invariance(const Model& model, int threads) {
  const auto& config = model.config();
  const auto vocabulary = static_cast<std::size_t>(config.vocab_size);
  std::vector<std::vector<Token>> tokens(kRows);
  for (std::size_t r = 0; r < kRows; ++r) {
    const int length = std::min(1 + static_cast<int>(r) % kMaxTokens, config.max_position_embeddings);
    for (int t = 0; t < length; ++t) {
      tokens[r].push_back(
          static_cast<Token>(random_bits(r, static_cast<std::uint64_t>(t)) % static_cast<std::uint64_t>(config.vocab_size)));
    }
  }

  std::vector<float> together(kRows * vocabulary);
  RaggedDecoder batch(model, threads);
  std::vector<KeyValueCache> caches(kRows);
  for (auto& cache : caches) cache.reset(config, kMaxTokens);
  for (const bool is_second : {false, true}) {  // all but the last token first, where there are several; then that
    std::vector<RaggedRow> rows;
    for (std::size_t r = 0; r < kRows; ++r) {
      const std::span<const Token> all = tokens[r];
      const auto part = is_second ? all.last(1) : all.first(all.size() - 1);
      if (!part.empty()) rows.push_back({&caches[r], part});
    }
    if (rows.empty()) continue;
    batch.step(rows, [&](std::int64_t first, std::int64_t n, const float* logits) {
      if (is_second) std::copy_n(logits, static_cast<std::size_t>(n) * vocabulary, together.begin() + first * config.vocab_size);
    });
  }

  RaggedDecoder single(model, 1);
  bool is_equal = true;
  for (std::size_t r = 0; r < kRows; r += kAloneStride) {
    KeyValueCache cache;
    cache.reset(config, kMaxTokens);
    const RaggedRow row{&cache, tokens[r]};
    single.step({&row, 1}, [&](std::int64_t, std::int64_t, const float* logits) {
      is_equal = is_equal && std::memcmp(logits, together.data() + r * vocabulary, vocabulary * sizeof(float)) == 0;
    });
  }
  if (is_equal) return {};
  return fail(ErrorCode::backend_failed,
              "the matrix products of this machine's oneDNN give a row other bits when it is computed alone than in a batch, so results "
              "would depend on "
              "timing; limit it with DNNL_MAX_CPU_ISA=AVX2, or use another machine");
}

}  // namespace pipestill::embedded
