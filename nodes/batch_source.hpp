#pragma once
// batch_source: the dataset's rows in the run's order, a batch at a time.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "graph/base/description.hpp"
#include "graph/message.hpp"
#include "nodes/messages.hpp"
#include "nodes/recipe.hpp"
#include "ports/dataset/dataset_store.hpp"
#include "ports/dataset/epoch_order.hpp"

namespace pipestill {

/// How many batches a run has. An epoch has ceil(rows / batch_size), the last may be short, none crosses an epoch.
struct BatchPlan {
  std::uint64_t rows = 0, batch_size = 1, epochs = 1;
  std::optional<std::uint64_t> max_steps = std::nullopt;

  /// An empty dataset is ErrorCode::invalid_input.
  [[nodiscard]] static Result<BatchPlan> make(const Recipe& recipe, std::uint64_t rows);
  [[nodiscard]] std::uint64_t batches_per_epoch() const { return rows / batch_size + (rows % batch_size != 0 ? 1 : 0); }
  /// Of epochs or max_steps, whichever comes first.
  [[nodiscard]] std::uint64_t total_steps() const;
};

/// A source (graph/stage.hpp). Which row comes when, and with which seed, depends on the recipe and the dataset's size alone.
/// A row that cannot be used ends the run with an error that names it, or travels on as dropped (dataset.on_bad_row).
class BatchSource {
 public:
  BatchSource(const Recipe& recipe, const BatchPlan& plan, std::shared_ptr<DatasetStore> dataset);
  static Description describe();

  Result<std::optional<PromptBatch>> operator()(graph::Context& context);

 private:
  [[nodiscard]] Result<Row> read_row(std::uint64_t index, std::uint64_t epoch);

  std::shared_ptr<const Recipe> recipe_;
  BatchPlan plan_;
  std::shared_ptr<DatasetStore> dataset_;
  std::uint64_t next_step_ = 0;
  EpochOrder order_;  // of the epoch under way; empty: the file's
};

}  // namespace pipestill
