#pragma once
// StudentHistory: how far the student is, and which of its versions are still to be read.
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "ports/sampling/sampling_client.hpp"

namespace pipestill {

/// With staleness s, the batches from n on are sampled with the versions from n - s on: those that a checkpoint at n must hold beside the student
/// itself, which is version n. They live here no longer than batches before n + 1 may be cut away. Thread-safe.
class StudentHistory {
 public:
  using Versions = std::map<std::uint64_t, std::shared_ptr<SamplingSession>>;

  /// At the run's first batch; `versions` are those that it and the next ones read, `first` among them. Empty where no batch reads the student.
  StudentHistory(std::size_t staleness, std::uint64_t first, Versions versions);

  /// The optimizer has stepped on this batch: whatever else becomes of it, the student is no longer that of the batch before.
  void met(std::uint64_t step);
  /// Behind it stands version step + 1: the snapshot, or the version before where there is none.
  void passed(std::uint64_t step, std::shared_ptr<SamplingSession> snapshot);

  /// How many batches the student has met.
  [[nodiscard]] std::uint64_t batches_met() const;
  /// Versions max(0, cursor - s) to cursor - 1, for a cursor that is batches_met().
  [[nodiscard]] Versions older_than(std::uint64_t cursor) const;

 private:
  const std::size_t staleness_;
  mutable std::mutex mutex_;  // guards what follows
  std::uint64_t met_;
  Versions versions_;
};

}  // namespace pipestill
