#include "ports/checkpoint/directory_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace pipestill {

Result<DirectoryLock> DirectoryLock::take(const std::filesystem::path& directory) {
  DirectoryLock lock(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const auto reason = [] { return std::generic_category().message(errno); };
  if (lock.descriptor_ < 0) return fail(ErrorCode::invalid_input, "cannot open the directory " + directory.string() + ": " + reason());
  if (::flock(lock.descriptor_, LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno != EWOULDBLOCK) return fail(ErrorCode::invalid_input, "cannot lock the directory " + directory.string() + ": " + reason());
  return fail(ErrorCode::invalid_input, "another process is running in " + directory.string() + ": wait for it, or name another directory for --out");
}

DirectoryLock::~DirectoryLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace pipestill
