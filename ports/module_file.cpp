#include "ports/module_file.hpp"

#include <dlfcn.h>

#include <cstdlib>
#include <vector>

namespace pipestill {
namespace {

std::vector<std::filesystem::path> module_directories() {
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

int flags_of(ModuleScope scope) {
  const int flags = RTLD_NOW | RTLD_LOCAL;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr bool is_sanitized = true;
#elif defined(__has_feature)
  constexpr bool is_sanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer);
#else
  constexpr bool is_sanitized = false;
#endif
  return scope == ModuleScope::own && !is_sanitized ? flags | RTLD_DEEPBIND : flags;
}

}  // namespace

Result<std::filesystem::path> find_module(const std::string& file, const std::string& who, const std::string& option) {
  std::string looked;
  for (const auto& directory : module_directories()) {
    std::error_code ignored;
    if (std::filesystem::exists(directory / file, ignored)) return directory / file;
    looked += (looked.empty() ? "" : ", ") + directory.string();
  }
  return fail(ErrorCode::invalid_input, who + " needs " + file + ", which is not in " + looked + ": build pipestill with " + option +
                                            ", or name its directory in PIPESTILL_MODULE_DIR");
}

Result<const void*> open_module(const std::filesystem::path& file, const char* symbol, const std::string& what, ModuleScope scope) {
  void* const handle = ::dlopen(file.c_str(), flags_of(scope));
  if (!handle) return fail(ErrorCode::invalid_input, "cannot load " + what + ": " + ::dlerror());
  using Entry = const void* (*)();
  const auto entry = reinterpret_cast<Entry>(::dlsym(handle, symbol));
  const void* module = entry ? entry() : nullptr;
  const std::string found = module ? *static_cast<const char* const*>(module) : "unknown";
  if (found == PIPESTILL_MODULE_VERSION) return module;
  ::dlclose(handle);
  return fail(ErrorCode::invalid_input, what + " in " + file.string() + " are of version " + found + ", this is " PIPESTILL_MODULE_VERSION);
}

}  // namespace pipestill
