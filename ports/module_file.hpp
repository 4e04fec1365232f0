#pragma once
// Modules: shared objects that the library loads when something asks for them, because of what they bring along.
#include <filesystem>
#include <string>

#include "graph/base/error.hpp"

namespace pipestill {

/// Where a module is: in the directory PIPESTILL_MODULE_DIR (environment), beside libpipestill, or in `pipestill/` below that.
/// ErrorCode::invalid_input, "<who> needs <file>, ..." with where it was looked for and `option`, the build option that makes it.
[[nodiscard]] Result<std::filesystem::path> find_module(const std::string& file, const std::string& who, const std::string& option);

enum class ModuleScope {
  shared,  ///< names that the program has win over the module's own
  own,     ///< the module's own names win, where no sanitizer forbids that
};
/// Loads it and returns what its function `symbol`, which takes nothing, returns: a standard-layout struct whose first member is a version
/// (const char*), which must be PIPESTILL_MODULE_VERSION, since both sides are built together. It stays loaded, and no other module sees its names.
/// ErrorCode::invalid_input where it cannot be loaded or is another one; `what` is the subject of that sentence, in the plural.
[[nodiscard]] Result<const void*> open_module(const std::filesystem::path& file, const char* symbol, const std::string& what, ModuleScope scope);

}  // namespace pipestill
