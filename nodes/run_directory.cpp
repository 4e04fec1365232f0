#include "nodes/run_directory.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>
#include <vector>

#include "nodes/pretty_json.hpp"
#include "ports/durable_file.hpp"
#include "ports/fault_point.hpp"
#include "ports/strict_json.hpp"
#include "ports/text_file.hpp"

namespace fs = std::filesystem;

namespace pipestill {
namespace {

constexpr std::array kFiles{"recipe.json",   "run.sqlite",        "run.sqlite-wal", "run.sqlite-shm", "run.sqlite-journal", "identity.json", "answers.sqlite", "answers.sqlite-wal", "answers.sqlite-shm", "checkpoints",
                            "metrics.jsonl", "evaluations.jsonl", "trace.json",     "summary.json",   "model"};

}  // namespace

bool RunDirectory::has_begun(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path / "recipe.json", ignored);
}

Result<RunDirectory> RunDirectory::create(const fs::path& path) {
  std::error_code error;
  const bool is_there = fs::exists(path, error);
  if (is_there && !fs::is_directory(path, error)) return fail(ErrorCode::invalid_input, path.string() + " is not a directory: name one that is new or empty for --out");
  fs::create_directories(path, error);
  if (error) return fail(ErrorCode::invalid_input, "cannot make the run directory " + path.string() + ": " + error.message());
  if (::access(path.c_str(), W_OK | X_OK) != 0) return fail(ErrorCode::invalid_input, "cannot write to the run directory " + path.string() + ": " + std::strerror(errno));
  auto lock = DirectoryLock::take(path);
  if (!lock) return fail(std::move(lock.error()));
  for (const auto* name : kFiles) {
    if (fs::exists(path / name, error)) {
      return fail(ErrorCode::invalid_input, path.string() + " holds a run already (" + name + "): name another directory for --out, or let that run go on with --resume");
    }
  }
  RunDirectory directory(path, *std::move(lock), !is_there);
  directory.clear_leftovers();
  return directory;
}

Result<RunDirectory> RunDirectory::open(const fs::path& path) {
  if (!has_begun(path)) return fail(ErrorCode::invalid_input, path.string() + " holds no run that could go on: there is no recipe.json");
  auto lock = DirectoryLock::take(path);
  if (!lock) return fail(std::move(lock.error()));
  if (::access(path.c_str(), W_OK | X_OK) != 0) return fail(ErrorCode::invalid_input, "cannot write to the run directory " + path.string() + ": " + std::strerror(errno));
  RunDirectory directory(path, *std::move(lock), false);
  directory.clear_leftovers();
  return directory;
}

Result<void> RunDirectory::write_recipe(const boost::json::object& resolved) const { return write_file_atomically(recipe(), to_pretty_json(resolved) + "\n"); }
Result<void> RunDirectory::write_summary(const boost::json::object& summary) const {
  fault_point("run.before_summary");
  return write_file_atomically(this->summary(), to_pretty_json(summary) + "\n");
}

Result<std::optional<boost::json::object>> RunDirectory::finished_summary() const {
  std::error_code ignored;
  if (!fs::exists(summary(), ignored)) return std::nullopt;
  const auto text = read_text_file(summary(), kMaxJsonBytes);
  if (!text) return fail(text.error());
  auto parsed = parse_strict_json(*text, summary().string());
  if (!parsed) return fail(std::move(parsed.error()));
  const auto* object = parsed->if_object();
  const auto* status = object ? object->if_contains("status") : nullptr;
  if (!status || *status != "finished") return std::nullopt;
  return *object;
}

Result<void> RunDirectory::remove_summary() const {
  std::error_code error;
  fs::remove(summary(), error);
  if (error) return fail(ErrorCode::backend_failed, "cannot remove " + summary().string() + ": " + error.message());
  return sync_directory(path_);
}

/// What write_file_atomically() leaves of a process that is killed.
void RunDirectory::clear_leftovers() const noexcept {
  std::error_code error, ignored;
  for (const auto& folder : {path_, model()}) {
    std::vector<fs::path> leftovers;
    for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
      const auto name = at->path().filename().string();
      const auto is_of = [&](std::string_view file) { return name.starts_with("." + std::string(file) + "."); };
      if (is_of("recipe.json") || is_of("identity.json") || is_of("summary.json") || is_of("config.json") || is_of("model.safetensors")) leftovers.push_back(at->path());
    }
    for (const auto& leftover : leftovers) fs::remove(leftover, ignored);
  }
}

void RunDirectory::discard() const noexcept {
  std::error_code ignored;
  for (const auto* name : kFiles) fs::remove_all(path_ / name, ignored);
  if (is_ours_) fs::remove(path_, ignored);  // only if it is empty now
}

}  // namespace pipestill
