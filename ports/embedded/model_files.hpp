#pragma once
// What a ModelRef means to the embedded models. Needs no libtorch.
#include <filesystem>
#include <optional>
#include <string>

#include "graph/base/error.hpp"
#include "ports/embedded/model_config.hpp"
#include "ports/types.hpp"

namespace pipestill::embedded {

struct ModelFiles {
  ModelConfig config;
  std::optional<std::filesystem::path> weights;  ///< empty: there are none, and fresh ones are drawn
};

/// `model` is a model directory (Hugging Face layout: weights in model.safetensors, or in the shards of model.safetensors.index.json) or a
/// config.json; `checkpoint_path`, a model directory of the same shape or a file *.safetensors, replaces the weights. A configuration alone
/// is an error unless it `may_be_fresh`. Errors are ErrorCode::invalid_input, one sentence that names the file.
[[nodiscard]] Result<ModelFiles> find_model_files(const ModelRef& model, bool may_be_fresh);

/// The same, and the names, types and shapes in the weights' header against the configuration; reads no weights.
[[nodiscard]] Result<void> check_model(const ModelRef& model, bool may_be_fresh);

/// SHA-256 over the configuration and the content of the weights' files; reads them all. Of fresh weights, over the configuration alone.
[[nodiscard]] Result<std::string> content_identity(const ModelRef& model, bool may_be_fresh = false);

/// Of the tokenizer that lies in the model's directory; empty if none does. One that cannot be read is ErrorCode::invalid_input.
[[nodiscard]] Result<std::optional<std::string>> tokenizer_fingerprint(const ModelRef& model);

}  // namespace pipestill::embedded
