#pragma once
// The run directory: what a run leaves behind: recipe.json, run.sqlite, identity.json, checkpoints/, metrics.jsonl, evaluations.jsonl, trace.json, model/,
// summary.json.
#include <boost/json/object.hpp>
#include <filesystem>
#include <optional>

#include "graph/base/error.hpp"
#include "ports/checkpoint/directory_lock.hpp"

namespace pipestill {

/// Names inside a run directory, and its lock: one process at a time may own one, and whatever ends it lets go of it (flock on the directory).
/// Only the owner of a run writes there; one thread at a time.
class RunDirectory {
 public:
  /// Makes the directory (and its parents). One that holds a run already, or that another process owns, is ErrorCode::invalid_input: nothing is ever
  /// overwritten.
  [[nodiscard]] static Result<RunDirectory> create(const std::filesystem::path& path);
  /// One in which a run has begun, to go on. ErrorCode::invalid_input where none has, or where another process owns it.
  [[nodiscard]] static Result<RunDirectory> open(const std::filesystem::path& path);
  /// A run has begun when its recipe is there, which is written first.
  [[nodiscard]] static bool has_begun(const std::filesystem::path& path);

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::filesystem::path recipe() const { return path_ / "recipe.json"; }
  [[nodiscard]] std::filesystem::path ledger() const { return path_ / "run.sqlite"; }
  [[nodiscard]] std::filesystem::path answers() const { return path_ / "answers.sqlite"; }
  [[nodiscard]] std::filesystem::path identity() const { return path_ / "identity.json"; }
  [[nodiscard]] std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  [[nodiscard]] std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }
  [[nodiscard]] std::filesystem::path evaluations() const { return path_ / "evaluations.jsonl"; }
  [[nodiscard]] std::filesystem::path trace() const { return path_ / "trace.json"; }
  [[nodiscard]] std::filesystem::path model() const { return path_ / "model"; }
  [[nodiscard]] std::filesystem::path summary() const { return path_ / "summary.json"; }

  [[nodiscard]] Result<void> write_recipe(const boost::json::object& resolved) const;
  /// Written last, and at once or not at all: a directory without it holds a run that did not end.
  [[nodiscard]] Result<void> write_summary(const boost::json::object& summary) const;
  /// summary.json of a run that has finished; empty: it has not.
  [[nodiscard]] Result<std::optional<boost::json::object>> finished_summary() const;
  [[nodiscard]] Result<void> remove_summary() const;
  /// Takes away what create() and the run made, for a run that never began. Files of others stay.
  void discard() const noexcept;

 private:
  RunDirectory(std::filesystem::path path, DirectoryLock lock, bool is_ours) : path_(std::move(path)), lock_(std::move(lock)), is_ours_(is_ours) {}
  void clear_leftovers() const noexcept;

  std::filesystem::path path_;
  DirectoryLock lock_;
  bool is_ours_;  // made by create()
};

}  // namespace pipestill
