#include "ports/embedded/packed_batch.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace pipestill::embedded {
namespace {

struct Inputs {
  std::vector<Token> tokens;
  // [tokens, width], row-major
  std::size_t width = 1;
  const std::vector<std::int64_t>* targets = nullptr;
  const std::vector<float>* weights = nullptr;
};

std::string show_shape(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const auto n : shape) text += (text.empty() ? "" : ", ") + std::to_string(n);
  return "(" + text + ")";
}

std::string show_place(const Inputs& in, std::size_t entry) {
  auto text = "at position " + std::to_string(entry / in.width);
  return in.width == 1 ? text : text + ", entry " + std::to_string(entry % in.width);
}

/// What is wrong with the shapes of target_tokens and weights; empty: nothing.
std::string check_shapes(const Inputs& in, const std::vector<std::int64_t>& targets, const std::vector<std::int64_t>& weights) {
  const auto n = in.tokens.size();
  const auto fits = [n](const std::vector<std::int64_t>& shape, std::size_t elements) {
    if (shape.size() != 1 && shape.size() != 2) return false;
    const std::int64_t width = shape.size() == 2 ? shape[1] : 1;
    return std::cmp_equal(shape[0], n) && width >= 1 && elements % n == 0 && std::cmp_equal(elements / n, width);
  };
  if (targets == weights && fits(targets, in.targets->size()) && fits(weights, in.weights->size())) return {};
  return "has " + std::to_string(n) + " input tokens, target_tokens of shape " + show_shape(targets) + " with " +
         std::to_string(in.targets->size()) + " elements and weights of shape " + show_shape(weights) + " with " +
         std::to_string(in.weights->size()) + "; cross_entropy takes both as (N) or both as (N, K), N being the number of input tokens";
}

Result<Inputs> inputs_of(const Datum& datum, const ModelConfig& config) {
  const auto bad = [](std::string why) { return fail(ErrorCode::invalid_input, std::move(why)); };
  Inputs in;
  in.tokens = datum.model_input.to_ints();
  const std::vector<std::int64_t>*target_shape = nullptr, *weight_shape = nullptr;
  for (const auto& [name, tensor] : datum.loss_fn_inputs) {
    if (name == "target_tokens") {
      in.targets = std::get_if<std::vector<std::int64_t>>(&tensor.data);
      if (!in.targets) return bad("has target_tokens that are not int64");
      target_shape = &tensor.shape;
    } else if (name == "weights") {
      in.weights = std::get_if<std::vector<float>>(&tensor.data);
      if (!in.weights) return bad("has weights that are not float32");
      weight_shape = &tensor.shape;
    } else {
      return bad("has the loss input \"" + name + "\", which cross_entropy does not know; target_tokens and weights are accepted");
    }
  }
  if (!in.targets) return bad("lacks target_tokens");
  if (!in.weights) return bad("lacks weights");
  const auto n = in.tokens.size();
  if (n == 0) return bad("is empty");
  if (auto wrong = check_shapes(in, *target_shape, *weight_shape); !wrong.empty()) return bad(std::move(wrong));
  in.width = in.targets->size() / n;
  if (n > static_cast<std::size_t>(config.max_position_embeddings)) {
    return bad("has " + std::to_string(n) + " tokens; the model's max_position_embeddings is " +
               std::to_string(config.max_position_embeddings));
  }
  const auto outside = [&config](std::int64_t token) { return token < 0 || token >= config.vocab_size; };
  const auto refuse_token = [&](std::int64_t token, const std::string& place) {
    return bad("has token " + std::to_string(token) + " " + place + "; the model's vocabulary has " + std::to_string(config.vocab_size));
  };
  for (std::size_t i = 0; i < n; ++i) {
    if (outside(in.tokens[i])) return refuse_token(in.tokens[i], "at position " + std::to_string(i));
  }
  for (std::size_t e = 0; e < in.targets->size(); ++e) {
    if (outside((*in.targets)[e])) return refuse_token((*in.targets)[e], show_place(in, e));
    if (!std::isfinite((*in.weights)[e])) return bad("has a weight that is not finite " + show_place(in, e));
  }
  return in;
}

PackedBatch empty_batch() {
  return {.tokens = {}, .starts = {0}, .positions = {}, .target_starts = {0}, .entry_starts = {0}, .targets = {}, .coefficients = {}};
}

/// Adds the row, if it has a weight, with its weights as coefficients. The sum of its weights, or nothing.
std::optional<double> append(PackedBatch& batch, const Inputs& in) {
  const auto start = batch.starts.back();
  std::size_t used = 0;  // attention looks back only, so nothing behind the last target can matter
  double row_weight = 0;
  for (std::size_t i = 0; i < in.tokens.size(); ++i) {
    const auto entries = batch.targets.size();
    for (std::size_t e = i * in.width; e < (i + 1) * in.width; ++e) {
      const auto weight = (*in.weights)[e];
      if (weight == 0) continue;
      batch.targets.push_back(static_cast<Token>((*in.targets)[e]));
      batch.coefficients.push_back(static_cast<double>(weight));
      row_weight += static_cast<double>(weight);
    }
    if (batch.targets.size() == entries) continue;
    batch.positions.push_back(start + static_cast<std::int64_t>(i));
    batch.entry_starts.push_back(static_cast<std::int64_t>(batch.targets.size()));
    used = i + 1;
  }
  if (used == 0) return std::nullopt;
  batch.tokens.insert(batch.tokens.end(), in.tokens.begin(), in.tokens.begin() + static_cast<std::ptrdiff_t>(used));
  batch.starts.push_back(static_cast<std::int64_t>(batch.tokens.size()));
  batch.target_starts.push_back(static_cast<std::int64_t>(batch.positions.size()));
  return row_weight;
}

}  // namespace

Result<std::vector<PackedBatch>> pack(std::span<const Datum> datums, const Loss& loss, const ModelConfig& config) {
  const auto bad = [](std::string why) { return fail(ErrorCode::invalid_input, std::move(why)); };
  if (loss.name != "cross_entropy") return bad("the loss is \"" + loss.name + "\"; the embedded models know \"cross_entropy\"");
  std::vector<PackedBatch> batches;
  double total_weight = 0;
  std::size_t rows = 0;
  for (std::size_t index = 0; index < datums.size(); ++index) {
    const auto in = inputs_of(datums[index], config);
    if (!in) return bad("datum " + std::to_string(index) + " " + in.error().message);
    const bool is_full = !batches.empty() && loss.micro_batch_rows > 0 && std::cmp_equal(batches.back().rows(), loss.micro_batch_rows);
    if (batches.empty() || is_full) batches.push_back(empty_batch());
    auto& batch = batches.back();
    const auto first = batch.coefficients.size();
    const auto row_weight = append(batch, *in);
    if (!row_weight) continue;
    ++rows;
    total_weight += *row_weight;
    if (loss.normalization == Normalization::seq_mean) {
      if (*row_weight == 0) return bad("datum " + std::to_string(index) + " has weights that sum to 0, so seq_mean is not defined");
      for (auto e = first; e < batch.coefficients.size(); ++e) batch.coefficients[e] /= *row_weight;
    }
  }
  if (rows == 0) return bad("no position of the " + std::to_string(datums.size()) + " datums has a weight other than 0");
  if (batches.back().rows() == 0) batches.pop_back();  // behind a full one came rows without weight alone
  double divisor = 1;
  if (loss.normalization == Normalization::token_mean) divisor = total_weight;
  if (loss.normalization == Normalization::seq_mean) divisor = static_cast<double>(rows);
  if (divisor == 0) return bad("the weights sum to 0, so token_mean is not defined");
  for (auto& batch : batches) {
    for (auto& c : batch.coefficients) c /= divisor;
  }
  return batches;
}

}  // namespace pipestill::embedded
