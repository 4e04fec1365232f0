#include "ports/durable_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <string>
#include <system_error>
#include <vector>

#include "ports/fault_point.hpp"
#include "ports/printable.hpp"
#include "ports/sha256.hpp"

namespace fs = std::filesystem;

namespace pipestill {
namespace {

std::string text_of(int error) { return std::generic_category().message(error); }

/// 0, or an errno.
int write_all(int descriptor, std::string_view bytes) {
  if (const int error = fault_point("file.write")) return error;
  while (!bytes.empty()) {
    const auto n = ::write(descriptor, bytes.data(), std::min<std::size_t>(bytes.size(), 1 << 30));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return n < 0 ? errno : EIO;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return 0;
}

int sync(int descriptor) {
  if (const int error = fault_point("file.sync")) return error;
  return ::fsync(descriptor) == 0 ? 0 : errno;
}

int rename_file(const fs::path& from, const fs::path& to) {
  if (const int error = fault_point("file.rename")) return error;
  return ::rename(from.c_str(), to.c_str()) == 0 ? 0 : errno;
}

fs::path parent_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path("."); }

}  // namespace

Result<void> write_file_atomically(const fs::path& file, std::span<const std::string_view> pieces) {
  static std::atomic<unsigned> counter{0};
  const auto temporary = parent_of(file) / ("." + file.filename().string() + "." + std::to_string(::getpid()) + "." + std::to_string(counter++));
  const auto failed = [&](const char* what, int error) {
    ::unlink(temporary.c_str());
    return fail(ErrorCode::backend_failed, std::string("cannot ") + what + " " + file.string() + ": " + text_of(error));
  };
  const int descriptor = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor < 0) return failed("create", errno);
  int error = 0;
  for (const auto piece : pieces) {
    if (error == 0) error = write_all(descriptor, piece);
  }
  if (error == 0) error = sync(descriptor);
  if (::close(descriptor) != 0 && error == 0) error = errno;
  if (error != 0) return failed("write", error);
  if (const int unnamed = rename_file(temporary, file)) return failed("rename", unnamed);
  return sync_directory(parent_of(file));
}

Result<void> rename_durably(const fs::path& from, const fs::path& to) {
  if (const int error = rename_file(from, to)) return fail(ErrorCode::backend_failed, "cannot rename " + from.string() + " to " + to.filename().string() + ": " + text_of(error));
  return sync_directory(parent_of(to));
}

Result<FileDigest> digest_of_file(const fs::path& file) {
  const auto refuse = [&](const std::string& why) { return fail(ErrorCode::invalid_input, "cannot read " + printable(file.string(), 300) + ": " + why); };
  std::error_code error;
  const auto status = fs::status(file, error);  // before it is opened: a pipe would be waited for
  if (!fs::exists(status)) return refuse(error.message());
  if (!fs::is_regular_file(status)) return refuse("it is not a regular file");
  std::ifstream in(file, std::ios::binary);
  if (!in) return refuse(text_of(errno));
  FileDigest digest;
  Sha256 hash;
  std::vector<char> piece(std::size_t{1} << 20);
  while (in.read(piece.data(), static_cast<std::streamsize>(piece.size())), in.gcount() > 0) {
    const auto count = static_cast<std::size_t>(in.gcount());
    hash.update({piece.data(), count});
    digest.bytes += count;
  }
  if (!in.eof()) return refuse(text_of(errno));
  digest.sha256 = to_hex(hash.finish());
  return digest;
}

Result<void> sync_file(const fs::path& file) {
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  int error = descriptor < 0 ? errno : sync(descriptor);
  if (descriptor >= 0) ::close(descriptor);
  if (error != 0 && error != ENOENT) return fail(ErrorCode::backend_failed, "cannot sync " + file.string() + ": " + text_of(error));
  return {};
}

Result<void> sync_directory(const fs::path& directory) {
  int error = 0;
  const int descriptor = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) error = errno;
  if (error == 0) error = sync(descriptor);
  if (descriptor >= 0) ::close(descriptor);
  // A file system that cannot sync a directory says so: it has nothing to sync.
  if (error != 0 && error != EINVAL) return fail(ErrorCode::backend_failed, "cannot sync " + directory.string() + ": " + text_of(error));
  return {};
}

}  // namespace pipestill
