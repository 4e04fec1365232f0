#pragma once
// A file that a telemetry sink writes, and that remembers its first error instead of reporting it at every call.
#include <filesystem>
#include <string_view>

#include "graph/base/error.hpp"

namespace pipestill {

/// One thread at a time.
class OutputFile {
 public:
  enum class Mode { truncate, append };

  /// A file that cannot be opened is ErrorCode::invalid_input, naming it.
  [[nodiscard]] static Result<OutputFile> open(const std::filesystem::path& path, Mode mode);
  ~OutputFile();
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;

  /// Hands the bytes to the kernel before it returns. After an error, and after close(), it does nothing.
  void write(std::string_view bytes) noexcept;
  /// The first error since open(), ErrorCode::backend_failed, at every call.
  [[nodiscard]] Result<void> close();

 private:
  OutputFile(std::filesystem::path path, int file) : path_(std::move(path)), file_(file) {}
  void release() noexcept;
  std::filesystem::path path_;
  int file_;       ///< -1: closed
  int error_ = 0;  ///< an errno
};

}  // namespace pipestill
