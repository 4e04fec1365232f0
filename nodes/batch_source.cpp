#include "nodes/batch_source.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "nodes/batch_bytes.hpp"
#include "nodes/describe.hpp"
#include "nodes/prompt.hpp"
#include "ports/dataset/conversation.hpp"
#include "ports/dataset/seed_streams.hpp"

namespace pipestill {

Result<BatchPlan> BatchPlan::make(const Recipe& recipe, std::uint64_t rows) {
  if (rows == 0)
    return fail(ErrorCode::invalid_input, "dataset.path: " + recipe.dataset.path.string() + " has no row; at least 1 is needed");
  return BatchPlan{rows, recipe.training.batch_size, recipe.training.epochs, recipe.training.max_steps};
}

std::uint64_t BatchPlan::total_steps() const {
  constexpr auto kMost = std::numeric_limits<std::uint64_t>::max();
  const std::uint64_t per_epoch = batches_per_epoch();  // 0 in a plan that only describes a flow
  const std::uint64_t of_epochs = per_epoch > 0 && epochs > kMost / per_epoch ? kMost : epochs * per_epoch;
  return std::min(of_epochs, max_steps.value_or(kMost));
}

BatchSource::BatchSource(const Recipe& recipe, const BatchPlan& plan, std::shared_ptr<DatasetStore> dataset)
    : recipe_(std::make_shared<const Recipe>(recipe)), plan_(plan), dataset_(std::move(dataset)) {}

Description BatchSource::describe() { return describe_batch_source(); }

Result<Row> BatchSource::read_row(std::uint64_t index, std::uint64_t epoch) {
  auto record = dataset_->row(index);
  if (!record) return fail(std::move(record.error()));
  Row row{.index = index, .where = std::move(record->where), .teacher = recipe_->teacher ? recipe_->teacher->teacher_model : ""};
  auto conversation = recipe_->method == Method::supervised ? supervised_conversation(*record) : prompt_conversation(*record);
  if (!conversation) return fail(at_row(row, std::move(conversation.error())));
  row.conversation = *std::move(conversation);
  if (recipe_->method != Method::supervised) {
    row.seed = draw_seed(recipe_->seed, recipe_->method == Method::on_policy ? "student_sampling" : "teacher_sampling", 0, epoch, index, 0);
  }
  return row;
}

Result<std::optional<PromptBatch>> BatchSource::operator()(graph::Context& context) {
  if (next_step_ == plan_.total_steps()) return std::nullopt;
  PromptBatch batch{.at = {next_step_ / plan_.batches_per_epoch(), next_step_ % plan_.batches_per_epoch(), next_step_}};
  const bool is_shuffled = recipe_->dataset.shuffle;
  if (is_shuffled && batch.at.batch == 0) order_ = EpochOrder(recipe_->seed, batch.at.epoch, plan_.rows);
  const std::uint64_t begin = batch.at.batch * plan_.batch_size;
  const std::uint64_t end = std::min(begin + plan_.batch_size, plan_.rows);
  for (std::uint64_t place = begin; place < end; ++place) {
    const std::uint64_t index = is_shuffled ? order_[place] : place;
    auto row = read_row(index, batch.at.epoch);
    if (!row) {
      const bool is_bad_row = row.error().code == ErrorCode::invalid_input;
      if (!is_bad_row || recipe_->dataset.on_bad_row == BadRowPolicy::fail) return fail(std::move(row.error()));
      row = Row{.index = index, .where = "row " + std::to_string(index), .dropped = DropReason::bad};
    }
    batch.rows.push_back(*std::move(row));
  }
  ++next_step_;
  context.bytes = most_bytes(*recipe_, batch);
  return batch;
}

}  // namespace pipestill
