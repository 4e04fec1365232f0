#include "nodes/batch_source.hpp"

#include <doctest/doctest.h>

#include <map>
#include <set>

#include "ports/dataset/memory_store.hpp"
#include "ports/dataset/numpy_random.hpp"
#include "tests/nodes/fakes.hpp"

namespace {

using namespace pipestill;
using namespace pipestill::test;

std::shared_ptr<DatasetStore> store_of(std::size_t n) {
  std::vector<boost::json::object> rows;
  for (std::size_t i = 0; i < n; ++i) rows.push_back({{"prompt", "p" + std::to_string(i)}});
  return std::make_shared<MemoryStore>(std::move(rows), "train");
}

std::vector<PromptBatch> all_batches(const Recipe& recipe, std::shared_ptr<DatasetStore> store) {
  BatchSource source(recipe, *BatchPlan::make(recipe, store->size()), store);
  std::vector<PromptBatch> batches;
  graph::Context context;
  for (;;) {
    auto batch = source(context);
    REQUIRE(batch);
    if (!*batch) return batches;
    batches.push_back(**std::move(batch));
  }
}

Error first_error(const Recipe& recipe, std::shared_ptr<DatasetStore> store) {
  BatchSource source(recipe, *BatchPlan::make(recipe, store->size()), store);
  graph::Context context;
  for (;;) {
    auto batch = source(context);
    if (!batch) return batch.error();
    REQUIRE(*batch);
  }
}

}  // namespace

TEST_CASE("an epoch has ceil(n / batch_size) batches, the last is short, and none crosses an epoch") {
  const auto batches = all_batches(recipe_of("off_policy", {"training.batch_size=3", "training.epochs=2"}), store_of(7));
  REQUIRE(batches.size() == 6);
  for (std::size_t i = 0; i < batches.size(); ++i) {
    CHECK(batches[i].at == Position{i / 3, i % 3, i});
    CHECK(batches[i].rows.size() == (i % 3 == 2 ? 1 : 3));
  }
  for (std::size_t epoch = 0; epoch < 2; ++epoch) {
    std::set<std::uint64_t> seen;
    for (std::size_t b = 0; b < 3; ++b) {
      for (const auto& row : batches[3 * epoch + b].rows) CHECK(seen.insert(row.index).second);
    }
    CHECK(seen.size() == 7);
  }
}

TEST_CASE("rows come in NumPy's order for seed + epoch, or in the file's") {
  const auto shuffled = all_batches(recipe_of("off_policy", {"training.batch_size=4", "training.epochs=2"}), store_of(8));
  std::vector<std::uint64_t> order;
  for (const auto& batch : shuffled) {
    for (const auto& row : batch.rows) order.push_back(row.index);
  }
  auto expected = default_rng(7).permutation(8);
  const auto second = default_rng(8).permutation(8);
  expected.insert(expected.end(), second.begin(), second.end());
  CHECK(order == expected);

  const auto plain = all_batches(recipe_of("off_policy", {"training.batch_size=4", "dataset.shuffle=false"}), store_of(5));
  CHECK(plain[1].rows[0].index == 4);
  CHECK(plain[1].rows[0].where == "train:5");
  CHECK(plain[1].rows[0].conversation == std::vector<Message>{{"user", "p4"}});
}

TEST_CASE("a row's seed depends on the run, the epoch and the row, not on the batch") {
  const auto seeds = [](const std::vector<std::string>& sets) {
    std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint64_t> by_row;
    for (const auto& batch : all_batches(recipe_of("off_policy", sets), store_of(6))) {
      for (const auto& row : batch.rows) by_row[{batch.at.epoch, row.index}] = row.seed;
    }
    return by_row;
  };
  const auto one = seeds({"training.batch_size=2", "training.epochs=2"});
  CHECK(one == seeds({"training.batch_size=5", "training.epochs=2", "dataset.shuffle=false"}));
  std::set<std::uint64_t> different;
  for (const auto& [row, seed] : one) different.insert(seed);
  CHECK(different.size() == 12);
  CHECK(one != seeds({"training.batch_size=2", "training.epochs=2", "seed=8"}));
}

TEST_CASE("max_steps ends the run inside an epoch, and the epochs end it before") {
  CHECK(all_batches(recipe_of("off_policy", {"training.batch_size=2", "training.max_steps=2", "training.epochs=9"}), store_of(7)).size() ==
        2);
  CHECK(all_batches(recipe_of("off_policy", {"training.batch_size=2", "training.max_steps=100"}), store_of(7)).size() == 4);
  CHECK(BatchPlan{.rows = 3, .batch_size = 2, .epochs = std::numeric_limits<std::uint64_t>::max(), .max_steps = 5}.total_steps() == 5);
}

TEST_CASE("a row that cannot be used ends the run with its place, or travels on as dropped") {
  const auto store =
      std::make_shared<MemoryStore>(std::vector<boost::json::object>{{{"prompt", "a"}}, {{"question", 5}}, {{"prompt", "c"}}}, "train");
  const auto error = first_error(recipe_of("off_policy", {"dataset.shuffle=false"}), store);
  CHECK(error.code == ErrorCode::invalid_input);
  CHECK(error.message.find("train:2") != std::string::npos);

  const auto batches = all_batches(recipe_of("off_policy", {"dataset.shuffle=false", "dataset.on_bad_row=skip"}), store);
  REQUIRE(batches.size() == 1);
  REQUIRE(batches[0].rows.size() == 3);
  CHECK(batches[0].rows[1].dropped == DropReason::bad);
  CHECK(!batches[0].rows[2].dropped);
}

TEST_CASE("an empty dataset is an error that names it") {
  const auto plan = BatchPlan::make(recipe_of("off_policy"), 0);
  REQUIRE(!plan);
  CHECK(plan.error().message.find("train.jsonl") != std::string::npos);
}

TEST_CASE("supervised rows end with the assistant, and nobody is asked") {
  const auto store = std::make_shared<MemoryStore>(
      std::vector<boost::json::object>{{{"messages", {{{"role", "user"}, {"content", "q"}}, {{"role", "assistant"}, {"content", "a"}}}}}});
  const auto batches = all_batches(recipe_of("supervised"), store);
  CHECK(batches.at(0).rows.at(0).conversation == std::vector<Message>{{"user", "q"}, {"assistant", "a"}});
  CHECK(batches[0].rows[0].teacher.empty());
  CHECK(first_error(recipe_of("supervised"), store_of(1)).code == ErrorCode::invalid_input);
}
