#pragma once
// Checkpoints in a directory: a student of one moment and what a run needs to go on from there.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "graph/base/error.hpp"
#include "ports/sampling/sampling_client.hpp"
#include "ports/training/training_client.hpp"

namespace pipestill {

/// What a checkpoint says of itself beside the student.
struct CheckpointFacts {
  std::uint64_t step = 0;                            ///< the cursor: the student has met all batches below it, and no other
  std::string ledger_digest = {};                    ///< of the ledger's rows below `step`; empty where there is no ledger
  std::map<std::string, std::string> identity = {};  ///< what equal bytes depend on, by name
  bool operator==(const CheckpointFacts&) const = default;
};

/// To be saved.
struct StudentCheckpoint {
  CheckpointFacts facts;
  std::shared_ptr<const TrainingState> student;
  /// By version, those older than facts.step that batches from there on are sampled with.
  std::map<std::uint64_t, std::shared_ptr<SamplingSession>> versions = {};
};

/// Found on the disk, whole.
struct SavedCheckpoint {
  CheckpointFacts facts;
  std::filesystem::path student;                                ///< for TrainingSession::load_state
  std::map<std::uint64_t, std::filesystem::path> versions = {};  ///< for TrainingSession::load_snapshot
};

struct CheckpointRetention {
  std::size_t keep_last = 3;     ///< at least 1
  std::uint64_t keep_every = 0;  ///< and all whose step is a multiple of this; 0: no others
};

/// One thread at a time; one process at a time.
///
/// step-00000100/ holds `student/` (what TrainingState::save writes: for the embedded models a Hugging Face directory and optimizer.safetensors),
/// `version-00000099/` for each older version that is still to be read, and manifest.json: format, facts, and of every file its size and SHA-256.
/// A checkpoint is written under another name, synced, file by file and directory by directory, and renamed: one that has its name is whole, until a disk
/// fails; what a crash leaves under other names is cleared away by the next save.
class CheckpointStore {
 public:
  /// Makes the directory when the first checkpoint is saved.
  CheckpointStore(std::filesystem::path directory, CheckpointRetention retention) : directory_(std::move(directory)), retention_(retention) {}

  /// Blocks as long as the disk takes. One of the same step is replaced; then those that retention does not keep are removed.
  /// ErrorCode::backend_failed, naming the file; the store is then as it was.
  [[nodiscard]] Result<void> save(const StudentCheckpoint& checkpoint);

  /// Steps of the checkpoints there, ascending; whether they are whole is not looked at.
  [[nodiscard]] std::vector<std::uint64_t> steps() const;
  /// The checkpoint, every file read and compared with the manifest. ErrorCode::invalid_input with one sentence on what is wrong.
  [[nodiscard]] Result<SavedCheckpoint> open(std::uint64_t step) const;
  /// The newest that is whole and not behind `last` batches. `skipped` hears why a newer one is not taken. Empty: there is none.
  [[nodiscard]] std::optional<SavedCheckpoint> newest(std::uint64_t last, const std::function<void(const Error&)>& skipped) const;
  /// Puts away, under the name step-00000100.damaged, every checkpoint behind `step`: a run that goes on from there makes them again.
  [[nodiscard]] Result<void> set_aside_behind(std::uint64_t step);

  [[nodiscard]] std::filesystem::path path_of(std::uint64_t step) const;

 private:
  [[nodiscard]] Result<void> write(const StudentCheckpoint& checkpoint, const std::filesystem::path& into) const;
  void clear_leftovers() const;
  void retain(std::uint64_t newest) const;

  std::filesystem::path directory_;
  CheckpointRetention retention_;
};

}  // namespace pipestill
