#include "nodes/run_directory.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "nodes/pretty_json.hpp"
#include "ports/durable_file.hpp"

namespace fs = std::filesystem;

namespace pipestill {
namespace {

constexpr std::array kFiles{"recipe.json", "run.sqlite", "run.sqlite-wal", "run.sqlite-shm", "metrics.jsonl", "evaluations.jsonl", "trace.json", "summary.json", "model"};

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

Result<void> RunDirectory::write_recipe(const boost::json::object& resolved) const { return write_file_atomically(path_ / "recipe.json", to_pretty_json(resolved) + "\n"); }
Result<void> RunDirectory::write_summary(const boost::json::object& summary) const { return write_file_atomically(path_ / "summary.json", to_pretty_json(summary) + "\n"); }

void RunDirectory::discard() const noexcept {
  std::error_code ignored;
  for (const auto* name : kFiles) fs::remove_all(path_ / name, ignored);
  if (is_ours_) fs::remove(path_, ignored);  // only if it is empty now
}

}  // namespace pipestill
