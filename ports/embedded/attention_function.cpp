#include <algorithm>
#include <cmath>

#include "ports/embedded/functions.hpp"

namespace pipestill::embedded::functions {
namespace {

constexpr std::int64_t kSequenceBlock = 4;  // rows of the batch given to one thread at a time

/// One row of the batch inside packed activations.
struct Sequence {
  std::int64_t start = 0, length = 0;
  std::int64_t first_output = 0, outputs = 0;
  const std::int64_t* positions = nullptr;  // of the outputs, in the packed batch; null: all

  [[nodiscard]] int position(std::int64_t i) const { return static_cast<int>(positions ? positions[i] - start : i); }
};

Sequence sequence_of(const PackedBatch& batch, std::int64_t row, bool targets_only) {
  const auto r = static_cast<std::size_t>(row);
  const auto start = batch.starts[r], length = batch.starts[r + 1] - start;
  if (!targets_only) return {start, length, start, length, nullptr};
  const auto first = batch.target_starts[r];
  return {start, length, first, batch.target_starts[r + 1] - first, batch.positions.data() + first};
}

/// Keys of one head, rotated, by row and transposed; and what else one thread needs while it works on one head.
template <class T>
struct Scratch {
  std::vector<T> keys, keys_t, values_t, query, probabilities, work, d_query, d_keys;

  void load(const Pass<T>& pass, const Sequence& s, const T* qkv, int kv_head, bool with_values) {
    const auto& config = pass.layout.config;
    const int hd = config.head_dim, width = pass.layout.qkv_width();
    const auto n = static_cast<int>(s.length), padded = kernels::padded_keys(n);
    keys.resize(static_cast<std::size_t>(n * hd));
    keys_t.assign(static_cast<std::size_t>(padded * hd), T(0));
    query.resize(static_cast<std::size_t>(hd));
    probabilities.resize(static_cast<std::size_t>(padded));
    const auto* row = qkv + s.start * width + (config.num_attention_heads + kv_head) * hd;
    if (with_values) values_t.assign(keys_t.size(), T(0));
    for (int t = 0; t < n; ++t, row += width) {
      auto* key = keys.data() + t * hd;
      kernels::rotate(row, key, pass.rotary.cosine_at(t), pass.rotary.sine_at(t), hd / 2, T(1));
      for (int j = 0; j < hd; ++j) keys_t[static_cast<std::size_t>(j * padded + t)] = key[j];
      if (!with_values) continue;
      const auto* value = row + config.num_key_value_heads * hd;
      for (int j = 0; j < hd; ++j) values_t[static_cast<std::size_t>(j * padded + t)] = value[j];
    }
  }
};

}  // namespace

template <class T>
Tensor Attention<T>::forward(AutogradContext* ctx, const Tensor& qkv, bool targets_only, const Pass<T>* pass) {
  ctx->save_for_backward({qkv});
  ctx->saved_data["targets_only"] = targets_only;
  remember(ctx, pass);
  const auto& config = pass->layout.config;
  const auto& batch = pass->batch;
  const int heads = config.num_attention_heads, kv_heads = config.num_key_value_heads, hd = config.head_dim, group = heads / kv_heads;
  const std::int64_t width = pass->layout.qkv_width(), out_width = heads * hd;
  const T scale = T(1) / std::sqrt(static_cast<T>(hd));
  auto out = uninitialised<T>(targets_only ? static_cast<std::int64_t>(batch.positions.size()) : qkv.size(0), out_width);
  const auto* x = qkv.data_ptr<T>();
  auto* o = out.template data_ptr<T>();

  for_blocks(pass->threads, batch.rows(), kSequenceBlock, [&](std::int64_t begin, std::int64_t end) {
    thread_local Scratch<T> scratch;
    for (auto row = begin; row < end; ++row) {
      const auto s = sequence_of(batch, row, targets_only);
      const int padded = kernels::padded_keys(static_cast<int>(s.length));
      for (int k = 0; k < kv_heads; ++k) {
        scratch.load(*pass, s, x, k, false);
        const auto* values = x + s.start * width + (heads + kv_heads + k) * hd;
        for (int h = k * group; h < (k + 1) * group; ++h) {
          for (std::int64_t i = 0; i < s.outputs; ++i) {
            const int t = s.position(i);
            kernels::rotate(x + (s.start + t) * width + h * hd, scratch.query.data(), pass->rotary.cosine_at(t), pass->rotary.sine_at(t),
                            hd / 2, T(1));
            kernels::attend(scratch.query.data(), scratch.keys_t.data(), padded, values, width, t + 1, hd, scale,
                            scratch.probabilities.data(), o + (s.first_output + i) * out_width + h * hd);
          }
        }
      }
    }
  });
  return out;
}

template <class T>
variable_list Attention<T>::backward(AutogradContext* ctx, const variable_list& gradients) {
  const auto qkv = ctx->get_saved_variables()[0];
  const auto d_out = gradients[0].contiguous();
  const bool targets_only = ctx->saved_data["targets_only"].toBool();
  const auto& pass = recall<T>(ctx);
  const auto& config = pass.layout.config;
  const int heads = config.num_attention_heads, kv_heads = config.num_key_value_heads, hd = config.head_dim, group = heads / kv_heads;
  const std::int64_t width = pass.layout.qkv_width(), out_width = heads * hd;
  const T scale = T(1) / std::sqrt(static_cast<T>(hd));
  auto d_qkv = at::zeros_like(qkv);
  const auto* x = qkv.template data_ptr<T>();
  const auto* g = d_out.template data_ptr<T>();
  auto* dx = d_qkv.template data_ptr<T>();

  // Probabilities are computed again: cheaper than to keep T^2 of them for every head of every layer.
  for_blocks(pass.threads, pass.batch.rows(), kSequenceBlock, [&](std::int64_t begin, std::int64_t end) {
    thread_local Scratch<T> scratch;
    for (auto row = begin; row < end; ++row) {
      const auto s = sequence_of(pass.batch, row, targets_only);
      const int padded = kernels::padded_keys(static_cast<int>(s.length));
      for (int k = 0; k < kv_heads; ++k) {
        scratch.load(pass, s, x, k, true);
        scratch.work.resize(static_cast<std::size_t>(padded));
        scratch.d_query.resize(static_cast<std::size_t>(hd));
        scratch.d_keys.assign(scratch.keys.size(), T(0));
        auto* d_values = dx + s.start * width + (heads + kv_heads + k) * hd;
        for (int h = k * group; h < (k + 1) * group; ++h) {
          for (std::int64_t i = 0; i < s.outputs; ++i) {
            const int t = s.position(i);
            const auto *cosine = pass.rotary.cosine_at(t), *sine = pass.rotary.sine_at(t);
            kernels::rotate(x + (s.start + t) * width + h * hd, scratch.query.data(), cosine, sine, hd / 2, T(1));
            kernels::attend(scratch.query.data(), scratch.keys_t.data(), padded, nullptr, 0, t + 1, hd, scale, scratch.probabilities.data(),
                            nullptr);
            kernels::attend_backward(scratch.query.data(), scratch.keys.data(), scratch.values_t.data(), padded,
                                     scratch.probabilities.data(), g + (s.first_output + i) * out_width + h * hd, t + 1, hd, scale,
                                     scratch.work.data(), scratch.d_query.data(), scratch.d_keys.data(), d_values, width);
            kernels::rotate(scratch.d_query.data(), dx + (s.start + t) * width + h * hd, cosine, sine, hd / 2, T(-1));
          }
        }
        for (int t = 0; t < static_cast<int>(s.length); ++t) {
          kernels::rotate(scratch.d_keys.data() + t * hd, dx + (s.start + t) * width + (heads + k) * hd, pass.rotary.cosine_at(t),
                          pass.rotary.sine_at(t), hd / 2, T(-1));
        }
      }
    }
  });
  return {d_qkv, Tensor(), Tensor()};
}

template struct Attention<float>;
template struct Attention<double>;

}  // namespace pipestill::embedded::functions
