#include "nodes/batch_source.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "nodes/batch_bytes.hpp"
#include "nodes/describe.hpp"
#include "nodes/prompt.hpp"
#include "ports/conversation_digest.hpp"
#include "ports/dataset/conversation.hpp"
#include "ports/dataset/seed_streams.hpp"

namespace pipestill {

Result<BatchPlan> BatchPlan::make(const Recipe& recipe, std::span<const std::uint64_t> rows) {
  const auto datasets = recipe.datasets();
  if (rows.size() != datasets.size()) {
    return fail(ErrorCode::invalid_input, "the recipe names " + std::to_string(datasets.size()) + " datasets, and " + std::to_string(rows.size()) + " are given");
  }
  BatchPlan plan{.epochs = recipe.training.epochs, .max_steps = recipe.training.max_steps};
  for (std::size_t i = 0; i < datasets.size(); ++i) {
    if (rows[i] == 0) return fail(ErrorCode::invalid_input, "dataset.path: " + datasets[i].path.string() + " has no row; at least 1 is needed");
    plan.datasets.push_back({rows[i], datasets[i].groups_per_batch, datasets[i].shuffle});
  }
  plan.batches_per_epoch = RowOrder(recipe.seed, plan.datasets).batches_per_epoch();
  return plan;
}

std::uint64_t BatchPlan::total_steps() const {
  constexpr auto kMost = std::numeric_limits<std::uint64_t>::max();
  // 0 batches in a plan that only describes a flow.
  const std::uint64_t of_epochs = batches_per_epoch > 0 && epochs > kMost / batches_per_epoch ? kMost : epochs * batches_per_epoch;
  return std::min(of_epochs, max_steps.value_or(kMost));
}

Result<Row> read_row(const Recipe& recipe, DatasetStore& store, const RowPlace& place) {
  auto record = store.row(place.index);
  if (!record) return fail(std::move(record.error()));
  Row row{.index = place.index,
          .dataset = place.dataset,
          .epoch = place.epoch,
          .where = std::move(record->where),
          .teacher = recipe.teacher ? recipe.teacher_of(place.dataset).teacher_model : "",
          .renderer = recipe.rendering_of(place.dataset).renderer};
  auto conversation = recipe.method == Method::supervised ? supervised_conversation(*record) : prompt_conversation(*record);
  if (!conversation) return fail(at_row(row, std::move(conversation.error())));
  row.conversation = *std::move(conversation);
  auto tools = declared_tools(*record);
  if (!tools) return fail(at_row(row, std::move(tools.error())));
  row.tools = *std::move(tools);
  row.content = conversation_digest(row.conversation, row.tools);
  if (recipe.method != Method::supervised) {
    row.seed = draw_seed(recipe.seed, recipe.method == Method::on_policy ? "student_sampling" : "teacher_sampling", place.dataset, place.epoch, place.index, 0);
  }
  return row;
}

namespace {

void drop_failed(const std::vector<FailedRow>& failed, std::vector<Row>& rows) {
  for (const auto& one : failed) {
    if (one.place >= rows.size()) continue;
    auto& row = rows[one.place];
    if (!row.dropped && row.dataset == one.dataset && row.index == one.index) row.dropped = DropReason::error;
  }
}

}  // namespace

BatchSource::BatchSource(const Recipe& recipe, const BatchPlan& plan, std::vector<std::shared_ptr<DatasetStore>> datasets, std::uint64_t first, FailedRows failed)
    : recipe_(std::make_shared<const Recipe>(recipe)), plan_(plan), datasets_(std::move(datasets)), order_(recipe.seed, plan.datasets), next_step_(first), failed_(std::move(failed)) {}

Description BatchSource::describe() { return describe_batch_source(); }

Result<std::optional<PromptBatch>> BatchSource::operator()(graph::Context& context) {
  if (next_step_ >= plan_.total_steps()) return std::nullopt;
  PromptBatch batch{.at = {next_step_ / plan_.batches_per_epoch, next_step_ % plan_.batches_per_epoch, next_step_}};
  for (const auto& place : order_.batch(next_step_)) {
    auto row = read_row(*recipe_, *datasets_[place.dataset], place);
    if (!row) {
      const bool is_bad_row = row.error().code == ErrorCode::invalid_input;
      if (!is_bad_row || recipe_->dataset_at(place.dataset).on_bad_row == BadRowPolicy::fail) return fail(std::move(row.error()));
      row = Row{.index = place.index,
                .dataset = place.dataset,
                .epoch = place.epoch,
                .where = "row " + std::to_string(place.index),
                .dropped = DropReason::bad,
                .why_bad = std::move(row.error().message)};
    }
    batch.rows.push_back(*std::move(row));
  }
  if (const auto failed = failed_.find(next_step_); failed != failed_.end()) drop_failed(failed->second, batch.rows);
  ++next_step_;
  context.bytes = most_bytes(*recipe_, batch);
  return batch;
}

}  // namespace pipestill
