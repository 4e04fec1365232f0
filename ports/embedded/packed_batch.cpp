#include "ports/embedded/packed_batch.hpp"

#include <cmath>
#include <string>
#include <utility>
#include <variant>

namespace pipestill::embedded {
namespace {

struct Inputs {
  std::vector<Token> tokens;
  const std::vector<std::int64_t>* targets = nullptr;
  const std::vector<float>* weights = nullptr;
};

Result<Inputs> inputs_of(const Datum& datum, const ModelConfig& config) {
  const auto bad = [](std::string why) { return fail(ErrorCode::invalid_input, std::move(why)); };
  Inputs in;
  in.tokens = datum.model_input.to_ints();
  for (const auto& [name, tensor] : datum.loss_fn_inputs) {
    if (name == "target_tokens") {
      in.targets = std::get_if<std::vector<std::int64_t>>(&tensor.data);
      if (!in.targets) return bad("has target_tokens that are not int64");
    } else if (name == "weights") {
      in.weights = std::get_if<std::vector<float>>(&tensor.data);
      if (!in.weights) return bad("has weights that are not float32");
    } else {
      return bad("has the loss input \"" + name + "\", which cross_entropy does not know; target_tokens and weights are accepted");
    }
    if (tensor.shape.size() != 1)
      return bad("has " + name + " of " + std::to_string(tensor.shape.size()) + " dimensions; cross_entropy takes (N)");
  }
  if (!in.targets) return bad("lacks target_tokens");
  if (!in.weights) return bad("lacks weights");
  const auto n = in.tokens.size();
  if (n == 0) return bad("is empty");
  if (in.targets->size() != n || in.weights->size() != n) {
    return bad("has " + std::to_string(n) + " input tokens, " + std::to_string(in.targets->size()) + " target_tokens and " +
               std::to_string(in.weights->size()) + " weights; the numbers must be equal");
  }
  if (n > static_cast<std::size_t>(config.max_position_embeddings)) {
    return bad("has " + std::to_string(n) + " tokens; the model's max_position_embeddings is " +
               std::to_string(config.max_position_embeddings));
  }
  for (std::size_t i = 0; i < n; ++i) {
    for (const std::int64_t token : {static_cast<std::int64_t>(in.tokens[i]), (*in.targets)[i]}) {
      if (token < 0 || token >= config.vocab_size) {
        return bad("has token " + std::to_string(token) + " at position " + std::to_string(i) + "; the model's vocabulary has " +
                   std::to_string(config.vocab_size));
      }
    }
    if (!std::isfinite((*in.weights)[i])) return bad("has a weight that is not finite at position " + std::to_string(i));
  }
  return in;
}

}  // namespace

Result<PackedBatch> pack(std::span<const Datum> datums, const Loss& loss, const ModelConfig& config) {
  const auto bad = [](std::string why) { return fail(ErrorCode::invalid_input, std::move(why)); };
  if (loss.name != "cross_entropy") return bad("the loss is \"" + loss.name + "\"; the embedded models know \"cross_entropy\"");
  PackedBatch batch;
  batch.starts.push_back(0);
  batch.target_starts.push_back(0);
  double total_weight = 0;
  for (std::size_t row = 0; row < datums.size(); ++row) {
    auto in = inputs_of(datums[row], config);
    if (!in) return bad("datum " + std::to_string(row) + " " + in.error().message);
    const auto start = batch.starts.back();
    std::size_t used = 0;  // attention looks back only, so nothing behind the last target can matter
    double row_weight = 0;
    for (std::size_t i = 0; i < in->tokens.size(); ++i) {
      const auto weight = (*in->weights)[i];
      if (weight == 0) continue;
      batch.positions.push_back(start + static_cast<std::int64_t>(i));
      batch.targets.push_back(static_cast<Token>((*in->targets)[i]));
      batch.coefficients.push_back(static_cast<double>(weight));
      row_weight += static_cast<double>(weight);
      used = i + 1;
    }
    if (used == 0) continue;
    total_weight += row_weight;
    if (loss.normalization == Normalization::seq_mean) {
      if (row_weight == 0) return bad("datum " + std::to_string(row) + " has weights that sum to 0, so seq_mean is not defined");
      for (auto i = static_cast<std::size_t>(batch.target_starts.back()); i < batch.coefficients.size(); ++i)
        batch.coefficients[i] /= row_weight;
    }
    batch.tokens.insert(batch.tokens.end(), in->tokens.begin(), in->tokens.begin() + static_cast<std::ptrdiff_t>(used));
    batch.starts.push_back(static_cast<std::int64_t>(batch.tokens.size()));
    batch.target_starts.push_back(static_cast<std::int64_t>(batch.positions.size()));
  }
  if (batch.positions.empty()) return bad("no position of the " + std::to_string(datums.size()) + " datums has a weight other than 0");
  double divisor = 1;
  if (loss.normalization == Normalization::token_mean) divisor = total_weight;
  if (loss.normalization == Normalization::seq_mean) divisor = static_cast<double>(batch.rows());
  if (divisor == 0) return bad("the weights sum to 0, so token_mean is not defined");
  for (auto& c : batch.coefficients) c /= divisor;
  return batch;
}

}  // namespace pipestill::embedded
