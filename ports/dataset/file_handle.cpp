#include "ports/dataset/file_handle.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <system_error>

namespace pipestill {
namespace {

tl::unexpected<Error> system_failure() { return fail(ErrorCode::backend_failed, std::generic_category().message(errno)); }

Result<FileHandle> owned(int descriptor) {
  if (descriptor < 0) return system_failure();
  return FileHandle(descriptor);
}

std::int64_t nanoseconds(const std::timespec& time) { return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec; }

}  // namespace

FileHandle::~FileHandle() {
  if (is_open()) ::close(descriptor_);
}

Result<FileHandle> FileHandle::open_regular(const std::filesystem::path& path) {
  auto file = owned(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // without O_NONBLOCK a named pipe would hang here
  if (!file) return fail(ErrorCode::invalid_input, "cannot open the dataset " + path.string() + ": " + file.error().message);
  struct stat facts {};
  if (::fstat(file->get(), &facts) != 0 || !S_ISREG(facts.st_mode)) {
    return fail(ErrorCode::invalid_input, "the dataset " + path.string() + " is not a regular file; its rows are read by position");
  }
  return file;
}

Result<FileHandle> FileHandle::open_for_update(const std::filesystem::path& path) {
  return owned(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
}

Result<FileHandle> FileHandle::in_memory() { return owned(::memfd_create("pipestill", MFD_CLOEXEC)); }

Result<FileHandle> FileHandle::temporary() {
  std::error_code error;
  const auto directory = std::filesystem::temp_directory_path(error);
  if (error) return fail(ErrorCode::backend_failed, error.message());
  std::filesystem::path path;
  auto file = new_in(directory, path);
  if (file) ::unlink(path.c_str());
  return file;
}

Result<FileHandle> FileHandle::new_in(const std::filesystem::path& directory, std::filesystem::path& path) {
  auto name = (directory / "pipestill-XXXXXX").string();
  auto file = owned(::mkostemp(name.data(), O_CLOEXEC));
  if (file) path = name;
  return file;
}

Result<FileFacts> FileHandle::facts() const {
  struct stat s {};
  if (::fstat(descriptor_, &s) != 0) return system_failure();
  return FileFacts{static_cast<std::uint64_t>(s.st_size), nanoseconds(s.st_mtim), nanoseconds(s.st_ctim), s.st_ino, s.st_dev};
}

Result<std::size_t> FileHandle::read_at(char* to, std::size_t size, std::uint64_t offset) const {
  std::size_t total = 0;
  while (total < size) {
    const ssize_t n = ::pread(descriptor_, to + total, size - total, static_cast<off_t>(offset + total));
    if (n == 0) break;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_failure();
    total += static_cast<std::size_t>(n);
  }
  return total;
}

Result<void> FileHandle::write_at(std::string_view bytes, std::uint64_t offset) const {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_failure();
    bytes.remove_prefix(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

}  // namespace pipestill
