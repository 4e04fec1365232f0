#pragma once
// Where a scenario puts its files.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include "graph/base/error.hpp"

namespace pipestill::bench {

/// A directory of our own, gone with the object.
class ScratchDirectory {
 public:
  /// Below `below`, or where temporary files go if that is empty.
  [[nodiscard]] static Result<std::unique_ptr<ScratchDirectory>> make(const std::string& below) {
    std::error_code error;
    const auto base = below.empty() ? std::filesystem::temp_directory_path(error) : std::filesystem::path(below);
    auto name = (base / "pipestill-bench-XXXXXX").string();
    if (error || !::mkdtemp(name.data())) return fail(ErrorCode::invalid_input, "cannot make a directory for temporary files in " + base.string() + " (--directory)");
    return std::unique_ptr<ScratchDirectory>(new ScratchDirectory(name));
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  ~ScratchDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  explicit ScratchDirectory(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

}  // namespace pipestill::bench
