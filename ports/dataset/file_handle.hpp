#pragma once
// FileHandle: an open file, read and written by position.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string_view>
#include <utility>

#include "graph/base/error.hpp"

namespace pipestill {

/// What tells a file from another, or from itself before a change, without reading it. Times in nanoseconds since 1970.
struct FileFacts {
  std::uint64_t size = 0;
  std::int64_t modified = 0, changed = 0;
  std::uint64_t inode = 0, device = 0;
  bool operator==(const FileFacts&) const = default;
};

/// Owns a file descriptor. Reading is thread-safe. Error texts are the system's own and name no file: the caller knows which it is.
class FileHandle {
 public:
  FileHandle() = default;
  explicit FileHandle(int descriptor) : descriptor_(descriptor) {}
  FileHandle(FileHandle&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  FileHandle& operator=(FileHandle&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~FileHandle();

  /// A regular file, for reading. ErrorCode::invalid_input, naming it.
  [[nodiscard]] static Result<FileHandle> open_regular(const std::filesystem::path& path);
  /// A file that is there and no link, for reading and writing.
  [[nodiscard]] static Result<FileHandle> open_for_update(const std::filesystem::path& path);
  /// A file without a name, gone with its handle: in memory, or in the directory for temporary files ($TMPDIR).
  [[nodiscard]] static Result<FileHandle> in_memory();
  [[nodiscard]] static Result<FileHandle> temporary();
  /// A new file in the directory; `path` becomes its name.
  [[nodiscard]] static Result<FileHandle> new_in(const std::filesystem::path& directory, std::filesystem::path& path);

  [[nodiscard]] int get() const { return descriptor_; }
  [[nodiscard]] bool is_open() const { return descriptor_ >= 0; }
  [[nodiscard]] Result<FileFacts> facts() const;
  /// Reads until `size` bytes are there or the file ends; how many there were.
  [[nodiscard]] Result<std::size_t> read_at(char* to, std::size_t size, std::uint64_t offset) const;
  [[nodiscard]] Result<void> write_at(std::string_view bytes, std::uint64_t offset) const;

 private:
  int descriptor_ = -1;
};

}  // namespace pipestill
