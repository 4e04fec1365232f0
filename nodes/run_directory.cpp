#include "nodes/run_directory.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "nodes/pretty_json.hpp"
#include "ports/text_file.hpp"

namespace fs = std::filesystem;

namespace pipestill {
namespace {

constexpr std::array kFiles{"recipe.json", "run.sqlite", "run.sqlite-wal", "run.sqlite-shm", "metrics.jsonl", "evaluations.jsonl", "trace.json", "summary.json", "model"};

/// So that a rename is on the disk when the power goes.
void sync(const fs::path& path) {
  if (const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC); file >= 0) {
    (void)::fsync(file);
    (void)::close(file);
  }
}

}  // namespace

Result<RunDirectory> RunDirectory::create(const fs::path& path) {
  std::error_code error;
  const bool is_there = fs::exists(path, error);
  if (is_there && !fs::is_directory(path, error)) return fail(ErrorCode::invalid_input, path.string() + " is not a directory: name one that is new or empty for --out");
  for (const auto* name : kFiles) {
    if (fs::exists(path / name, error)) {
      return fail(ErrorCode::invalid_input, path.string() + " holds a run already (" + name + "): name another directory for --out");
    }
  }
  fs::create_directories(path, error);
  if (error) return fail(ErrorCode::invalid_input, "cannot make the run directory " + path.string() + ": " + error.message());
  if (::access(path.c_str(), W_OK | X_OK) != 0) return fail(ErrorCode::invalid_input, "cannot write to the run directory " + path.string() + ": " + std::strerror(errno));
  return RunDirectory(path, !is_there);
}

Result<void> RunDirectory::write_json(const fs::path& name, const boost::json::object& value) const {
  const auto aside = path_ / (name.string() + ".part");
  if (auto written = write_text_file(aside, to_pretty_json(value) + "\n"); !written) return written;
  sync(aside);
  std::error_code error;
  fs::rename(aside, path_ / name, error);
  if (error) return fail(ErrorCode::backend_failed, "cannot write " + (path_ / name).string() + ": " + error.message());
  sync(path_);
  return {};
}

Result<void> RunDirectory::write_recipe(const boost::json::object& resolved) const { return write_json("recipe.json", resolved); }
Result<void> RunDirectory::write_summary(const boost::json::object& summary) const { return write_json("summary.json", summary); }

void RunDirectory::discard() const noexcept {
  std::error_code ignored;
  for (const auto* name : kFiles) fs::remove_all(path_ / name, ignored);
  if (is_ours_) fs::remove(path_, ignored);  // only if it is empty now
}

}  // namespace pipestill
