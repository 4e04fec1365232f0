#include "ports/embedded/ragged_decoder.hpp"

#include <algorithm>
#include <cmath>

#include "ports/embedded/gemm.hpp"
#include "ports/embedded/kernels.hpp"
#include "ports/embedded/parallel.hpp"

namespace pipestill::embedded {
namespace {

constexpr std::int64_t kRowBlock = 64;     // rows of a cheap row-wise kernel given to one thread at a time
constexpr std::int64_t kLogitsBlock = 96;  // positions whose logits exist at once

/// Memory for `rows` rows; what was there may be lost.
float* rows_of(std::vector<float>& buffer, std::int64_t rows, int width) {
  const auto needed = static_cast<std::size_t>(gemm::padded_rows(rows) * width);
  if (buffer.size() < needed) buffer.resize(needed);
  return buffer.data();
}

}  // namespace

void KeyValueCache::reset(const ModelConfig& config, int positions) {
  heads_ = config.num_key_value_heads;
  head_dim_ = config.head_dim;
  length_ = 0;
  const auto capacity = std::max(capacity_, kernels::padded_keys(positions));
  const auto size = static_cast<std::size_t>(config.num_hidden_layers) * static_cast<std::size_t>(heads_) *
                    static_cast<std::size_t>(head_dim_) * static_cast<std::size_t>(capacity);
  // Columns past the last key are read and their results dropped, so they must exist, with any value.
  keys_.resize(size);
  values_.resize(size);
  capacity_ = capacity;
}

void RaggedDecoder::plan(std::span<const RaggedRow> rows) {
  starts_.clear();
  outputs_.clear();
  output_starts_.clear();
  tokens_ = 0;
  for (const auto& row : rows) {
    const auto n = static_cast<std::int64_t>(row.tokens.size());
    starts_.push_back(tokens_);
    output_starts_.push_back(static_cast<std::int64_t>(outputs_.size()));
    for (std::int64_t t = row.wants_all ? 0 : n - 1; t < n; ++t) outputs_.push_back(tokens_ + t);
    tokens_ += n;
  }
  live_ = tokens_;
}

void RaggedDecoder::embed(std::span<const RaggedRow> rows) {
  const auto& layout = model_.layout();
  const int d = layout.config.hidden_size;
  const auto* table = model_.weights->at(layout.embedding);
  auto* out = rows_of(stream_, tokens_, d);
  for (const auto& row : rows) {
    for (const auto token : row.tokens) out = std::copy_n(table + static_cast<std::ptrdiff_t>(token) * d, d, out);
  }
}

void RaggedDecoder::step(std::span<const RaggedRow> rows, const Visit& visit) {
  const auto& layout = model_.layout();
  const auto& config = layout.config;
  plan(rows);
  embed(rows);
  for (int i = 0; i < config.num_hidden_layers; ++i) layer(i, rows);
  for (const auto& row : rows) row.cache->advance(static_cast<int>(row.tokens.size()));

  auto* h = rows_of(normed_, live_, config.hidden_size);
  kernels::rms_norm_forward(stream_.data(), model_.weights->at(layout.final_norm), h, nullptr, live_, config.hidden_size,
                            static_cast<float>(config.rms_norm_eps));
  auto* logits = rows_of(logits_, std::min(live_, kLogitsBlock), config.vocab_size);
  for (std::int64_t first = 0; first < live_; first += kLogitsBlock) {
    const auto n = std::min(live_ - first, kLogitsBlock);
    gemm::forward(h + first * config.hidden_size, model_.weights->at(layout.head), logits, n, config.hidden_size, config.vocab_size,
                  gemm::Result::overwrite, gemm::Storage::padded, threads_);
    visit(first, n, logits);
  }
}

void RaggedDecoder::layer(int index, std::span<const RaggedRow> rows) {
  const auto& layout = model_.layout();
  const auto& config = layout.config;
  const auto& at = layout.layers[static_cast<std::size_t>(index)];
  const auto& weights = *model_.weights;
  const int d = config.hidden_size, ff = config.intermediate_size;
  const auto eps = static_cast<float>(config.rms_norm_eps);
  const auto norm = [&](std::int64_t place) {
    auto* out = rows_of(normed_, live_, d);
    for_blocks(threads_, live_, kRowBlock, [&](std::int64_t begin, std::int64_t end) {
      kernels::rms_norm_forward(stream_.data() + begin * d, weights.at(place), out + begin * d, nullptr, end - begin, d, eps);
    });
    return out;
  };
  const auto product = [&](const float* x, std::int64_t place, float* y, int in, int out, gemm::Result result) {
    gemm::forward(x, weights.at(place), y, live_, in, out, result, gemm::Storage::padded, threads_);
  };

  product(norm(at.input_norm), at.qkv, rows_of(qkv_, live_, layout.qkv_width()), d, layout.qkv_width(), gemm::Result::overwrite);
  if (config.has_head_norms()) normalise_heads(at);
  const bool is_last = index + 1 == config.num_hidden_layers;
  attend(index, rows, is_last);
  if (is_last) keep_outputs();  // what follows is needed only where logits are
  product(attended_.data(), at.output, stream_.data(), layout.attention_width(), d, gemm::Result::add);

  auto* gate_up = rows_of(gate_up_, live_, 2 * ff);
  product(norm(at.post_norm), at.gate_up, gate_up, d, 2 * ff, gemm::Result::overwrite);
  auto* hidden = rows_of(hidden_, live_, ff);
  for_blocks(threads_, live_, kRowBlock, [&](std::int64_t begin, std::int64_t end) {
    kernels::swiglu_forward(gate_up + begin * 2 * ff, hidden + begin * ff, end - begin, ff);
  });
  product(hidden, at.down, stream_.data(), ff, d, gemm::Result::add);
}

void RaggedDecoder::normalise_heads(const LayerPlaces& at) {
  const auto& config = model_.config();
  const int hd = config.head_dim, width = model_.layout().qkv_width();
  const auto eps = static_cast<float>(config.rms_norm_eps);
  for_blocks(threads_, live_, kRowBlock, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      auto* heads = qkv_.data() + i * width;
      kernels::rms_norm_forward(heads, model_.weights->at(at.query_norm), heads, nullptr, config.num_attention_heads, hd, eps);
      heads += config.num_attention_heads * hd;
      kernels::rms_norm_forward(heads, model_.weights->at(at.key_norm), heads, nullptr, config.num_key_value_heads, hd, eps);
    }
  });
}

void RaggedDecoder::attend(int index, std::span<const RaggedRow> rows, bool is_last) {
  const auto& config = model_.config();
  const int heads = config.num_attention_heads, kv_heads = config.num_key_value_heads, hd = config.head_dim;
  const int group = heads / kv_heads, width = model_.layout().qkv_width(), out_width = heads * hd;
  const auto& rotary = *model_.rotary;
  const float scale = 1 / std::sqrt(static_cast<float>(hd));
  auto* out = rows_of(attended_, is_last ? static_cast<std::int64_t>(outputs_.size()) : tokens_, out_width);

  for_blocks(threads_, static_cast<std::int64_t>(rows.size()), 4, [&](std::int64_t begin, std::int64_t end) {
    thread_local std::vector<float> rotated, probabilities;
    rotated.resize(static_cast<std::size_t>(hd));
    for (auto r = begin; r < end; ++r) {
      const auto& row = rows[static_cast<std::size_t>(r)];
      auto& cache = *row.cache;
      const int before = cache.length(), n = static_cast<int>(row.tokens.size()), capacity = cache.capacity();
      const auto start = starts_[static_cast<std::size_t>(r)];
      probabilities.resize(static_cast<std::size_t>(kernels::padded_keys(before + n)));
      for (int t = 0; t < n; ++t) {
        const int position = before + t;
        const auto* key = qkv_.data() + (start + t) * width + heads * hd;
        for (int k = 0; k < kv_heads; ++k, key += hd) {
          kernels::rotate(key, rotated.data(), rotary.cosine_at(position), rotary.sine_at(position), hd / 2, 1);
          auto* column = cache.keys(index, k) + position;
          for (int j = 0; j < hd; ++j) column[static_cast<std::ptrdiff_t>(j) * capacity] = rotated[static_cast<std::size_t>(j)];
          std::copy_n(key + kv_heads * hd, hd, cache.values(index, k) + static_cast<std::ptrdiff_t>(position) * hd);
        }
      }
      const int first = is_last && !row.wants_all ? n - 1 : 0;
      auto* o = out + (is_last ? output_starts_[static_cast<std::size_t>(r)] : start) * out_width;
      for (int t = first; t < n; ++t) {
        const int position = before + t;
        const auto* query = qkv_.data() + (start + t) * width;
        for (int h = 0; h < heads; ++h, query += hd, o += hd) {
          kernels::rotate(query, rotated.data(), rotary.cosine_at(position), rotary.sine_at(position), hd / 2, 1);
          kernels::attend(rotated.data(), cache.keys(index, h / group), capacity, cache.values(index, h / group), hd, position + 1, hd,
                          scale, probabilities.data(), o);
        }
      }
    }
  });
}

void RaggedDecoder::keep_outputs() {
  const int d = model_.config().hidden_size;
  live_ = static_cast<std::int64_t>(outputs_.size());
  for (std::int64_t i = 0; i < live_; ++i) {  // forwards in place: an output never lies before its new row
    const auto from = outputs_[static_cast<std::size_t>(i)];
    if (from != i) std::copy_n(stream_.data() + from * d, d, stream_.data() + i * d);
  }
}

}  // namespace pipestill::embedded
