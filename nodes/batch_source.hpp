#pragma once
// batch_source: the datasets' rows in the run's order, a batch at a time.
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "graph/base/description.hpp"
#include "graph/message.hpp"
#include "nodes/messages.hpp"
#include "nodes/recipe.hpp"
#include "nodes/row_order.hpp"
#include "ports/dataset/dataset_store.hpp"

namespace pipestill {

/// How many batches a run has: its epochs are those of the only dataset, or of a mix's first (RowOrder).
struct BatchPlan {
  std::vector<DatasetShare> datasets = {};
  std::uint64_t batches_per_epoch = 0;
  std::uint64_t epochs = 1;
  std::optional<std::uint64_t> max_steps = std::nullopt;

  /// `rows` of each dataset of the recipe. An empty dataset, and another number of datasets than the recipe's, is ErrorCode::invalid_input.
  [[nodiscard]] static Result<BatchPlan> make(const Recipe& recipe, std::span<const std::uint64_t> rows);
  /// Of epochs or max_steps, whichever comes first.
  [[nodiscard]] std::uint64_t total_steps() const;
};

/// Rows that a run dropped because asking about them had failed (DropReason::error), by step. Who computes such a batch again asks nothing about them: the failure
/// stands in the ledger, and an answer now would make another batch.
struct FailedRow {
  std::uint64_t place = 0;  ///< in the batch
  std::uint64_t dataset = 0, index = 0;
};
using FailedRows = std::map<std::uint64_t, std::vector<FailedRow>>;

/// One row as the run's stages get it. A row that cannot be used is ErrorCode::invalid_input; the store's own errors keep their code.
[[nodiscard]] Result<Row> read_row(const Recipe& recipe, DatasetStore& store, const RowPlace& place);

/// A source (graph/stage.hpp). Which row comes when, and with which seed, depends on the recipe and the datasets' sizes alone.
/// A row that cannot be used ends the run with an error that names it, or is skipped (dataset.on_bad_row): it travels on as dropped, with the
/// reason. It keeps its place in its batch, and nobody takes it: so no other row changes its batch or its seed, an epoch keeps its batches, and the batch
/// trains on one row less. A batch without any other row makes no optimizer step.
class BatchSource {
 public:
  /// `datasets` as in Recipe::datasets(). The first batch is that of step `first`. Of `failed` are the rows that are at their place again.
  BatchSource(const Recipe& recipe, const BatchPlan& plan, std::vector<std::shared_ptr<DatasetStore>> datasets, std::uint64_t first = 0, FailedRows failed = {});
  static Description describe();

  Result<std::optional<PromptBatch>> operator()(graph::Context& context);

 private:
  std::shared_ptr<const Recipe> recipe_;
  BatchPlan plan_;
  std::vector<std::shared_ptr<DatasetStore>> datasets_;
  RowOrder order_;
  std::uint64_t next_step_;
  FailedRows failed_;
};

}  // namespace pipestill
