#pragma once
// RowGather: a batch whose rows are answered apart from each other, in any order and from any thread.
#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "graph/base/completion.hpp"
#include "nodes/guarded.hpp"
#include "nodes/messages.hpp"

namespace pipestill {

/// Delivers the batch when every row that was asked for has been answered: nothing of it is outstanding then. If rows failed, the one that
/// stands first in the batch is the batch's error, whatever the order of the answers.
/// A row is touched only by the handler of its own answer, so that no lock is needed.
class RowGather {
 public:
  /// `asked`: the answers that will come, at least 1. `finish` looks at the whole batch before it is delivered.
  RowGather(SampledBatch batch, std::size_t asked, std::function<void(SampledBatch&)> finish, Completion<SampledBatch> done)
      : batch_(std::move(batch)), errors_(batch_.rows.size()), outstanding_(asked), finish_(std::move(finish)), done_(std::move(done)) {}

  [[nodiscard]] SampledRow& row(std::size_t i) { return batch_.rows[i]; }

  void answered(std::size_t i, Result<void> outcome) {
    if (!outcome) errors_[i] = std::move(outcome.error());
    if (outstanding_.fetch_sub(1, std::memory_order_acq_rel) > 1) return;
    for (auto& error : errors_) {
      if (error) return done_(fail(*std::move(error)));
    }
    auto finished = guarded("telemetry", [this]() -> Result<void> {
      finish_(batch_);
      return {};
    });
    if (!finished) return done_(fail(std::move(finished.error())));
    done_(std::move(batch_));
  }

 private:
  SampledBatch batch_;
  std::vector<std::optional<Error>> errors_;
  std::atomic<std::size_t> outstanding_;
  std::function<void(SampledBatch&)> finish_;
  Completion<SampledBatch> done_;
};

}  // namespace pipestill
