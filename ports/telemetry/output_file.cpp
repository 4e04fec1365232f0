#include "ports/telemetry/output_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

namespace pipestill {

Result<OutputFile> OutputFile::open(const std::filesystem::path& path, Mode mode) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | (mode == Mode::append ? O_APPEND : O_TRUNC), 0666);
  if (file < 0) return fail(ErrorCode::invalid_input, "cannot write " + path.string() + ": " + std::generic_category().message(errno));
  return OutputFile(path, file);
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)), file_(std::exchange(other.file_, -1)), error_(other.error_) {}

OutputFile::~OutputFile() { release(); }

void OutputFile::release() noexcept {
  if (file_ < 0) return;
  if (::close(std::exchange(file_, -1)) != 0 && error_ == 0) error_ = errno;
}

void OutputFile::write(std::string_view bytes) noexcept {
  while (file_ >= 0 && error_ == 0 && !bytes.empty()) {
    const ssize_t n = ::write(file_, bytes.data(), bytes.size());
    if (n >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno != EINTR) {
      error_ = errno;
    }
  }
}

Result<void> OutputFile::close() {
  release();
  if (error_ != 0)
    return fail(ErrorCode::backend_failed, "could not write all of " + path_.string() + ": " + std::generic_category().message(error_));
  return {};
}

}  // namespace pipestill
