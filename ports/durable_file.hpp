#pragma once
// Files that are there whole or not at all, whatever ends the process or the power.
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "graph/base/error.hpp"

namespace pipestill {

/// Writes the pieces beside `file` under a temporary name, syncs and renames: after a crash the old file or the new one is there, whole.
/// ErrorCode::backend_failed, naming the file; the old one is then as it was.
[[nodiscard]] Result<void> write_file_atomically(const std::filesystem::path& file, std::span<const std::string_view> pieces);
[[nodiscard]] inline Result<void> write_file_atomically(const std::filesystem::path& file, std::string_view text) { return write_file_atomically(file, {&text, 1}); }

/// Renames a directory or a file inside one parent directory, and syncs that. What `to` names must not exist if it is a directory.
[[nodiscard]] Result<void> rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);

struct FileDigest {
  std::uint64_t bytes = 0;
  std::string sha256 = {};  ///< in hexadecimal
  bool operator==(const FileDigest&) const = default;
};
/// Of a regular file's content. ErrorCode::invalid_input, naming the file.
[[nodiscard]] Result<FileDigest> digest_of_file(const std::filesystem::path& file);

/// What was written to a file, by whom ever in this process, is on the disk when this returns. No file, nothing to do.
[[nodiscard]] Result<void> sync_file(const std::filesystem::path& file);

/// The names in a directory are on the disk when this returns.
[[nodiscard]] Result<void> sync_directory(const std::filesystem::path& directory);

}  // namespace pipestill
