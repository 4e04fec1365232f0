#pragma once
// DirectoryLock: one process at a time owns a directory.
#include <filesystem>
#include <utility>

#include "graph/base/error.hpp"

namespace pipestill {

/// flock() on the directory itself: no file is left behind, and the kernel lets go of it when the process ends, in whatever way. Owns a file descriptor.
class DirectoryLock {
 public:
  /// ErrorCode::invalid_input where another process holds it, or the directory cannot be opened.
  [[nodiscard]] static Result<DirectoryLock> take(const std::filesystem::path& directory);
  DirectoryLock(DirectoryLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  DirectoryLock& operator=(DirectoryLock&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~DirectoryLock();

 private:
  explicit DirectoryLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

}  // namespace pipestill
