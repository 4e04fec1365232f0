#include "ports/embedded/torch_module.hpp"

#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

namespace pipestill::embedded {
namespace {

constexpr auto kFileName = "pipestill_torch.so";
constexpr auto kSymbol = "pipestill_torch_module";

std::vector<std::filesystem::path> directories() {
  std::vector<std::filesystem::path> found;
  if (const char* named = std::getenv("PIPESTILL_MODULE_DIR"); named && *named) found.emplace_back(named);
  static const int here = 0;
  Dl_info info{};
  if (::dladdr(&here, &info) != 0 && info.dli_fname) {
    std::error_code ignored;
    const auto library = std::filesystem::absolute(info.dli_fname, ignored).parent_path();
    found.push_back(library);
    found.push_back(library / "pipestill");
  }
  return found;
}

Result<const TorchModule*> open_module(const std::filesystem::path& file) {
  void* const handle = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) return fail(ErrorCode::invalid_input, "cannot load the embedded models: " + std::string(::dlerror()));
  using Entry = const TorchModule* (*)();
  const auto entry = reinterpret_cast<Entry>(::dlsym(handle, kSymbol));
  const auto* module = entry ? entry() : nullptr;
  if (!module || std::strcmp(module->version, PIPESTILL_TORCH_MODULE_VERSION) != 0) {
    const std::string version = module ? module->version : "unknown";
    ::dlclose(handle);
    return fail(ErrorCode::invalid_input,
                "the embedded models in " + file.string() + " are of version " + version + ", this is " PIPESTILL_TORCH_MODULE_VERSION);
  }
  return module;
}

}  // namespace

Result<std::filesystem::path> find_torch_module() {
  std::string looked;
  for (const auto& directory : directories()) {
    const auto file = directory / kFileName;
    std::error_code ignored;
    if (std::filesystem::exists(file, ignored)) return file;
    looked += (looked.empty() ? "" : ", ") + directory.string();
  }
  return fail(ErrorCode::invalid_input, std::string("the client \"torch\" needs ") + kFileName + ", which is not in " + looked +
                                            ": build pipestill with PIPESTILL_WITH_TORCH, or name its directory in PIPESTILL_MODULE_DIR");
}

Result<const TorchModule*> load_torch_module() {
  static std::mutex mutex;  // guards `loaded`
  static const TorchModule* loaded = nullptr;
  const std::lock_guard lock(mutex);
  if (loaded) return loaded;
  auto opened = find_torch_module().and_then(open_module);
  if (opened) loaded = *opened;
  return opened;
}

Result<void> check_torch_options(const TorchOptions& options) {
  if (options.compute_threads >= 1 && options.compute_threads <= 256) return {};
  return fail(ErrorCode::invalid_input, "compute_threads is " + std::to_string(options.compute_threads) + "; 1 to 256 is accepted");
}

}  // namespace pipestill::embedded
