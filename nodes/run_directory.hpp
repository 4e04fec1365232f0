#pragma once
// The run directory: what a run leaves behind: recipe.json, run.sqlite, metrics.jsonl, evaluations.jsonl, trace.json, model/, summary.json.
#include <boost/json/object.hpp>
#include <filesystem>

#include "graph/base/error.hpp"

namespace pipestill {

/// Names inside a run directory. Only the owner of a run writes there; one thread at a time.
class RunDirectory {
 public:
  /// Makes the directory (and its parents). One that holds a run already is ErrorCode::invalid_input: nothing is ever overwritten.
  [[nodiscard]] static Result<RunDirectory> create(const std::filesystem::path& path);

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::filesystem::path ledger() const { return path_ / "run.sqlite"; }
  [[nodiscard]] std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }
  [[nodiscard]] std::filesystem::path evaluations() const { return path_ / "evaluations.jsonl"; }
  [[nodiscard]] std::filesystem::path trace() const { return path_ / "trace.json"; }
  [[nodiscard]] std::filesystem::path model() const { return path_ / "model"; }

  [[nodiscard]] Result<void> write_recipe(const boost::json::object& resolved) const;
  /// Written last, and at once or not at all: a directory without it holds a run that did not end.
  [[nodiscard]] Result<void> write_summary(const boost::json::object& summary) const;
  /// Takes away what create() and the run made, for a run that never began. Files of others stay.
  void discard() const noexcept;

 private:
  RunDirectory(std::filesystem::path path, bool is_ours) : path_(std::move(path)), is_ours_(is_ours) {}
  std::filesystem::path path_;
  bool is_ours_;  // made by create()
};

}  // namespace pipestill
