#pragma once
// Inference: rows of unequal length through the decoder in one batch, over caches of keys and values.
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "ports/embedded/weights.hpp"
#include "ports/types.hpp"

namespace pipestill::embedded {

/// Keys and values of one row's positions so far. Keys lie transposed, [layer, head, head_dim, capacity], so that scores
/// of neighbouring positions are neighbours; values [layer, head, capacity, head_dim].
class KeyValueCache {
 public:
  /// Empties it, with room for `positions`. Storage is kept from one row to the next.
  void reset(const ModelConfig& config, int positions);

  [[nodiscard]] int length() const { return length_; }
  [[nodiscard]] int capacity() const { return capacity_; }  ///< a multiple of 8
  [[nodiscard]] float* keys(int layer, int head) { return keys_.data() + place(layer, head); }
  [[nodiscard]] float* values(int layer, int head) { return values_.data() + place(layer, head); }
  void advance(int positions) { length_ += positions; }

 private:
  [[nodiscard]] std::ptrdiff_t place(int layer, int head) const {
    return (static_cast<std::ptrdiff_t>(layer) * heads_ + head) * head_dim_ * capacity_;
  }
  int length_ = 0, capacity_ = 0, heads_ = 0, head_dim_ = 0;
  std::vector<float> keys_, values_;
};

/// One row's part of a step: new tokens behind the ones in its cache.
struct RaggedRow {
  KeyValueCache* cache = nullptr;  ///< has room for the tokens; they are in it afterwards
  std::span<const Token> tokens;   ///< at least one, each in the vocabulary
  bool wants_all = false;          ///< logits at every one of these tokens, not only at the last
};

/// Computes steps. Not thread-safe: it owns scratch memory, which grows to the largest step.
/// The logits of a row are a function of its tokens alone: not of the other rows, nor of how its tokens were split
/// into steps, nor of `threads`.
class RaggedDecoder {
 public:
  RaggedDecoder(Model model, int threads) : model_(std::move(model)), threads_(threads) {}

  /// Calls visit(first output, logits [n, vocab_size]) over blocks of outputs in order: rows in the order given, and
  /// a row's positions. The logits are the visitor's to read until it returns.
  using Visit = std::function<void(std::int64_t first, std::int64_t n, const float* logits)>;
  void step(std::span<const RaggedRow> rows, const Visit& visit);

  [[nodiscard]] const Model& model() const { return model_; }

 private:
  void plan(std::span<const RaggedRow> rows);
  void embed(std::span<const RaggedRow> rows);
  void layer(int index, std::span<const RaggedRow> rows);
  void normalise_heads(const LayerPlaces& at);
  void attend(int index, std::span<const RaggedRow> rows, bool is_last);
  void keep_outputs();

  Model model_;
  int threads_;
  std::vector<std::int64_t> starts_;         ///< per row, its first token among all tokens of the step
  std::vector<std::int64_t> outputs_;        ///< tokens whose logits are wanted
  std::vector<std::int64_t> output_starts_;  ///< per row, its first output
  std::int64_t tokens_ = 0;                  ///< of the step
  std::int64_t live_ = 0;                    ///< rows of stream_ still computed: all tokens, in the last layer the outputs alone
  // Rows of activations, each with storage for gemm::padded_rows().
  std::vector<float> stream_, normed_, qkv_, attended_, gate_up_, hidden_, logits_;
};

}  // namespace pipestill::embedded
