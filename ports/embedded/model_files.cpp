#include "ports/embedded/model_files.hpp"

#include <string>
#include <system_error>
#include <utility>

#include "ports/durable_file.hpp"
#include "ports/embedded/model_layout.hpp"
#include "ports/embedded/safetensors.hpp"
#include "ports/sha256.hpp"
#include "ports/tokenizer/tokenizer.hpp"

namespace fs = std::filesystem;

namespace pipestill::embedded {
namespace {

constexpr auto kConfig = "config.json";
constexpr auto kWeights = "model.safetensors";

/// The weights' file of a checkpoint, whose own configuration, if it has one, must be the model's.
Result<fs::path> find_checkpoint(const fs::path& checkpoint, const fs::path& model, const ModelConfig& config) {
  std::error_code ignored;
  if (!fs::is_directory(checkpoint, ignored)) return checkpoint;
  if (fs::exists(checkpoint / kConfig, ignored)) {
    const auto own = read_model_config(checkpoint / kConfig);
    if (!own) return fail(own.error());
    if (*own != config) return fail(ErrorCode::invalid_input, "the checkpoint " + checkpoint.string() + " has another config.json than the model " + model.string());
  }
  return checkpoint / kWeights;
}

}  // namespace

Result<ModelFiles> find_model_files(const ModelRef& model, bool may_be_fresh) {
  std::error_code ignored;
  const fs::path path = model.model;
  if (!fs::exists(path, ignored)) return fail(ErrorCode::invalid_input, "the model " + path.string() + " does not exist");
  const bool is_directory = fs::is_directory(path, ignored);
  const bool has_weights = is_directory && checkpoint_exists(path / kWeights);
  if (is_directory && !has_weights && model.checkpoint_path.empty()) {
    for (const auto* pickled : {"pytorch_model.bin", "pytorch_model.bin.index.json"}) {  // never mistaken for a model without weights
      if (fs::exists(path / pickled, ignored))
        return fail(ErrorCode::invalid_input, "the model " + path.string() + " has its weights in " + pickled +
                                                  ", which the embedded models do not read: save it as safetensors");
    }
  }
  auto config = read_model_config(is_directory ? path / kConfig : path);
  if (!config) return fail(std::move(config.error()));
  ModelFiles files{.config = *std::move(config), .weights = std::nullopt};
  if (!model.checkpoint_path.empty()) {
    auto checkpoint = find_checkpoint(model.checkpoint_path, path, files.config);
    if (!checkpoint) return fail(std::move(checkpoint.error()));
    files.weights = *std::move(checkpoint);
  } else if (is_directory && (!may_be_fresh || has_weights)) {
    files.weights = path / kWeights;
  } else if (!may_be_fresh) {
    return fail(ErrorCode::invalid_input, "the model " + path.string() + " is a configuration without weights; a directory with model.safetensors is needed");
  }
  return files;
}

Result<void> check_model(const ModelRef& model, bool may_be_fresh) {
  const auto files = find_model_files(model, may_be_fresh);
  if (!files) return fail(files.error());
  if (!files->weights) return {};
  const auto shards = open_checkpoint(*files->weights);
  if (!shards) return fail(shards.error());
  return check_tensors(*shards, make_layout(files->config));
}

Result<std::string> content_identity(const ModelRef& model, bool may_be_fresh) {
  const auto files = find_model_files(model, may_be_fresh);
  if (!files) return fail(files.error());
  if (!files->weights) return "fresh weights of " + to_hex(Sha256().field(to_json(files->config)).finish());
  const auto shards = open_checkpoint(*files->weights);
  if (!shards) return fail(shards.error());
  Sha256 hash;
  hash.field(to_json(files->config));
  for (const auto& shard : *shards) {
    const auto digest = digest_of_file(shard.path());
    if (!digest) return fail(digest.error());
    hash.field(digest->sha256);
  }
  return "content " + to_hex(hash.finish());
}

Result<std::optional<std::string>> tokenizer_fingerprint(const ModelRef& model) {
  std::error_code ignored;
  const fs::path directory = model.model;
  if (!fs::is_directory(directory, ignored)) return std::nullopt;
  auto tokenizer = Tokenizer::load(model.model);
  if (tokenizer) return (*tokenizer)->fingerprint();
  for (const auto* file : {"tokenizer.json", "tokenizer.model", "chars.json", "bytes.json"}) {
    if (fs::exists(directory / file, ignored)) return fail(std::move(tokenizer).error());
  }
  return std::nullopt;
}

}  // namespace pipestill::embedded
