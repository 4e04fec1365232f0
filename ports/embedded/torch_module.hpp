#pragma once
// The border between libpipestill and the module that holds libtorch.
#include <filesystem>
#include <memory>

#include "graph/base/error.hpp"
#include "ports/embedded/torch_options.hpp"
#include "ports/sampling/sampling_client.hpp"
#include "ports/training/training_client.hpp"

namespace pipestill::embedded {

/// What the module's one symbol, `pipestill_torch_module`, returns. Both sides are built together, as C++: `version` is
/// compared before anything else is looked at (ports/module_file.hpp).
struct TorchModule {
  const char* version;
  std::shared_ptr<SamplingClient> (*make_sampling_client)(TorchOptions options);
  std::shared_ptr<TrainingClient> (*make_training_client)(TorchOptions options);
};

/// Where the module is: in the directory PIPESTILL_MODULE_DIR (environment), beside libpipestill, or in `pipestill/` below that.
/// ErrorCode::invalid_input, saying where it was looked for.
[[nodiscard]] Result<std::filesystem::path> find_torch_module();
/// Loads the module, once in a process, which costs about half a second; it stays loaded. ErrorCode::invalid_input where it is missing or
/// of another version. Thread-safe; a failure is not remembered.
[[nodiscard]] Result<const TorchModule*> load_torch_module();

/// What the factories and `pipestill check` say of compute_threads outside 1 to 256.
[[nodiscard]] Result<void> check_torch_options(const TorchOptions& options);

}  // namespace pipestill::embedded
