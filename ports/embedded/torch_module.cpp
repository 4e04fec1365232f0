#include "ports/embedded/torch_module.hpp"

#include <mutex>
#include <string>

#include "ports/module_file.hpp"

namespace pipestill::embedded {
namespace {

Result<const TorchModule*> open_torch_module(const std::filesystem::path& file) {
  const auto opened = open_module(file, "pipestill_torch_module", "the embedded models", ModuleScope::shared);
  if (!opened) return fail(opened.error());
  return static_cast<const TorchModule*>(*opened);
}

}  // namespace

Result<std::filesystem::path> find_torch_module() { return find_module("pipestill_torch.so", "the client \"torch\"", "PIPESTILL_WITH_TORCH"); }

Result<const TorchModule*> load_torch_module() {
  static std::mutex mutex;  // guards `loaded`
  static const TorchModule* loaded = nullptr;
  const std::lock_guard lock(mutex);
  if (loaded) return loaded;
  auto opened = find_torch_module().and_then(open_torch_module);
  if (opened) loaded = *opened;
  return opened;
}

Result<void> check_torch_options(const TorchOptions& options) {
  if (options.compute_threads >= 1 && options.compute_threads <= 256) return {};
  return fail(ErrorCode::invalid_input, "compute_threads is " + std::to_string(options.compute_threads) + "; 1 to 256 is accepted");
}

}  // namespace pipestill::embedded
