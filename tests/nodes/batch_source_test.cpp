#include "nodes/batch_source.hpp"

#include <doctest/doctest.h>

#include <boost/json/parse.hpp>
#include <map>
#include <set>

#include "nodes/batch_bytes.hpp"
#include "nodes/datum_builder.hpp"
#include "ports/dataset/memory_store.hpp"
#include "ports/dataset/numpy_random.hpp"
#include "tests/nodes/fakes.hpp"
#include "tests/support/stand_in_tokenizer.hpp"

namespace {

using namespace pipestill;
using namespace pipestill::test;

std::shared_ptr<DatasetStore> store_of(std::size_t n) {
  std::vector<boost::json::object> rows;
  for (std::size_t i = 0; i < n; ++i) rows.push_back({{"prompt", "p" + std::to_string(i)}});
  return std::make_shared<MemoryStore>(std::move(rows), "train");
}

using Stores = std::vector<std::shared_ptr<DatasetStore>>;

BatchSource source_of(const Recipe& recipe, const Stores& stores) {
  std::vector<std::uint64_t> rows;
  for (const auto& store : stores) rows.push_back(store->size());
  auto plan = BatchPlan::make(recipe, rows);
  if (!plan) FAIL(plan.error().message);
  return BatchSource(recipe, *plan, stores);
}

std::vector<PromptBatch> all_batches(const Recipe& recipe, const Stores& stores) {
  auto source = source_of(recipe, stores);
  std::vector<PromptBatch> batches;
  graph::Context context;
  for (;;) {
    auto batch = source(context);
    REQUIRE(batch);
    if (!*batch) return batches;
    batches.push_back(**std::move(batch));
  }
}

Error first_error(const Recipe& recipe, const Stores& stores) {
  auto source = source_of(recipe, stores);
  graph::Context context;
  for (;;) {
    auto batch = source(context);
    if (!batch) return batch.error();
    REQUIRE(*batch);
  }
}

}  // namespace

TEST_CASE("an epoch has ceil(n / batch_size) batches, the last is short, and none crosses an epoch") {
  const auto batches = all_batches(recipe_of("off_policy", {"training.batch_size=3", "training.epochs=2"}), {store_of(7)});
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
  const auto shuffled = all_batches(recipe_of("off_policy", {"training.batch_size=4", "training.epochs=2"}), {store_of(8)});
  std::vector<std::uint64_t> order;
  for (const auto& batch : shuffled) {
    for (const auto& row : batch.rows) order.push_back(row.index);
  }
  auto expected = default_rng(7).permutation(8);
  const auto second = default_rng(8).permutation(8);
  expected.insert(expected.end(), second.begin(), second.end());
  CHECK(order == expected);

  const auto plain = all_batches(recipe_of("off_policy", {"training.batch_size=4", "dataset.shuffle=false"}), {store_of(5)});
  CHECK(plain[1].rows[0].index == 4);
  CHECK(plain[1].rows[0].where == "train:5");
  CHECK(plain[1].rows[0].conversation == std::vector<Message>{{"user", "p4"}});
}

TEST_CASE("a row's seed depends on the run, the epoch and the row, not on the batch") {
  const auto seeds = [](const std::vector<std::string>& sets) {
    std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint64_t> by_row;
    for (const auto& batch : all_batches(recipe_of("off_policy", sets), {store_of(6)})) {
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
  CHECK(all_batches(recipe_of("off_policy", {"training.batch_size=2", "training.max_steps=2", "training.epochs=9"}), {store_of(7)}).size() ==
        2);
  CHECK(all_batches(recipe_of("off_policy", {"training.batch_size=2", "training.max_steps=100"}), {store_of(7)}).size() == 4);
  CHECK(BatchPlan{.batches_per_epoch = 2, .epochs = std::numeric_limits<std::uint64_t>::max(), .max_steps = 5}.total_steps() == 5);
}

TEST_CASE("a row that cannot be used ends the run with its place, or travels on as dropped") {
  const auto store =
      std::make_shared<MemoryStore>(std::vector<boost::json::object>{{{"prompt", "a"}}, {{"question", 5}}, {{"prompt", "c"}}}, "train");
  const auto error = first_error(recipe_of("off_policy", {"dataset.shuffle=false"}), {store});
  CHECK(error.code == ErrorCode::invalid_input);
  CHECK(error.message.find("train:2") != std::string::npos);

  const auto batches = all_batches(recipe_of("off_policy", {"dataset.shuffle=false", "dataset.on_bad_row=skip"}), {store});
  REQUIRE(batches.size() == 1);
  REQUIRE(batches[0].rows.size() == 3);
  CHECK(batches[0].rows[1].dropped == DropReason::bad);
  CHECK(batches[0].rows[1].why_bad == error.message);
  CHECK(!batches[0].rows[2].dropped);
}

TEST_CASE("a row whose request had failed is dropped at its place again, and at no other") {
  const auto recipe = recipe_of("off_policy", {"dataset.shuffle=false", "training.batch_size=3"});
  const auto store = store_of(7);
  const auto plan = BatchPlan::make(recipe, std::vector<std::uint64_t>{store->size()}).value();
  const FailedRows failed{{0, {{.place = 1, .index = 1}}}, {1, {{.place = 0, .index = 4}, {.place = 2, .dataset = 1, .index = 5}, {.place = 9, .index = 3}}}, {2, {{.place = 0, .index = 6}}}};
  BatchSource source(recipe, plan, {store}, 0, failed);
  graph::Context context;
  std::map<std::uint64_t, DropReason> dropped;
  for (auto batch = source(context).value(); batch; batch = source(context).value()) {
    for (const auto& row : batch->rows) {
      if (row.dropped) dropped[row.index] = *row.dropped;
    }
  }
  CHECK(dropped == std::map<std::uint64_t, DropReason>{{1, DropReason::error}, {6, DropReason::error}});
}

TEST_CASE("an empty dataset is an error that names it") {
  const auto plan = BatchPlan::make(recipe_of("off_policy"), std::vector<std::uint64_t>{0});
  REQUIRE(!plan);
  CHECK(plan.error().message.find("train.jsonl") != std::string::npos);
}

TEST_CASE("supervised rows end with the assistant, and nobody is asked") {
  const auto store = std::make_shared<MemoryStore>(
      std::vector<boost::json::object>{{{"messages", {{{"role", "user"}, {"content", "q"}}, {{"role", "assistant"}, {"content", "a"}}}}}});
  const auto batches = all_batches(recipe_of("supervised"), {store});
  CHECK(batches.at(0).rows.at(0).conversation == std::vector<Message>{{"user", "q"}, {"assistant", "a"}});
  CHECK(batches[0].rows[0].teacher.empty());
  CHECK(first_error(recipe_of("supervised"), {store_of(1)}).code == ErrorCode::invalid_input);
}

TEST_CASE("a skipped row changes no other row's batch, place or seed") {
  std::vector<boost::json::object> good, with_bad;
  for (int i = 0; i < 11; ++i) {
    good.push_back({{"prompt", "p" + std::to_string(i)}});
    with_bad.push_back(i % 4 == 1 ? boost::json::object{{"prompt", i}} : good.back());
  }
  const std::vector<std::string> sets{"training.batch_size=3", "training.epochs=2", "dataset.on_bad_row=skip"};
  const auto expected = all_batches(recipe_of("off_policy", sets), {std::make_shared<MemoryStore>(good, "train")});
  const auto skipped = all_batches(recipe_of("off_policy", sets), {std::make_shared<MemoryStore>(with_bad, "train")});
  REQUIRE(skipped.size() == expected.size());
  int bad = 0;
  for (std::size_t b = 0; b < expected.size(); ++b) {
    REQUIRE(skipped[b].rows.size() == expected[b].rows.size());
    for (std::size_t i = 0; i < expected[b].rows.size(); ++i) {
      const auto& row = skipped[b].rows[i];
      CHECK(row.index == expected[b].rows[i].index);
      if (row.dropped) {
        CHECK(row.index % 4 == 1);
        ++bad;
      } else {
        CHECK(row == expected[b].rows[i]);
      }
    }
  }
  CHECK(bad == 2 * 3);
}

TEST_CASE("a batch reserves no less than it comes to, whatever max_prompt_tokens leaves of the last user message") {
  const auto long_text = std::string(5000, 'x');
  const PromptRenderer renderer{std::make_shared<LetterRenderer>(), std::make_shared<LetterTokenizer>(), 1};
  for (const auto& conversation : {std::vector<Message>{{"system", long_text}, {"user", "abc"}},
                                   std::vector<Message>{{"user", "abc"}, {"assistant", long_text}, {"user", "abc"}, {"assistant", "."}},
                                   std::vector<Message>{{"user", long_text}, {"assistant", long_text}}}) {
    auto asked = prompts({""});
    asked.rows[0].conversation = conversation;
    const std::vector<std::string> sets{"dataset.max_prompt_tokens=1", "training.max_length=20000"};
    const auto reserved = most_bytes(recipe_of("off_policy", sets), asked);
    SampledBatch sampled;
    sampled.rows.push_back({.row = asked.rows[0], .answer = answer_of(".")});
    sampled.rows[0].prompt = renderer.render(sampled.rows[0].row).value();
    CHECK(most_bytes(sampled) <= reserved);

    const auto shown = most_bytes(recipe_of("supervised", sets), asked);
    graph::Context context;
    context.bytes = shown;
    const DatumBuilder builder({.method = Method::supervised, .prompts = {renderer}, .max_length = 20000});
    CHECK(bytes_of(builder(asked, context).value()) <= shown);
  }
}

TEST_CASE("tools that a row declares stand in its prompt and its example, within what the batch reserves") {
  const auto tools = tools_from_json(boost::json::parse(R"([{"name": "f", "description": "ééé", "parameters": {"type": "object", "properties": {"a": {}, "b": {"examples": [1e15, 1e15]}}}},
                                                            {"name": "g", "description": "", "parameters": {}}])"),
                                     "t")
                         .value();
  for (const auto& [vocabulary, name] : {std::pair{"qwen3", "qwen3"}, {"deepseek_v3", "deepseekv3"}, {"gpt-oss", "gpt_oss_no_sysprompt"}, {"mock", "kimi_k2"}}) {
    INFO(name);
    const auto tokenizer = stand_in_for(vocabulary);
    const PromptRenderer renderer{Renderer::make(name, tokenizer).value(), tokenizer};
    auto asked = prompts({""});
    asked.rows[0].tools = tools;
    asked.rows[0].conversation = {{"user", "q"}};
    const auto reserved = most_bytes(recipe_of("off_policy", {"training.max_length=20000"}), asked);
    SampledBatch sampled;
    sampled.rows.push_back({.row = asked.rows[0], .answer = answer_of(".")});
    sampled.rows[0].prompt = renderer.render(sampled.rows[0].row).value();
    CHECK(most_bytes(sampled) <= reserved);
    const auto prompt = tokenizer->decode(sampled.rows[0].prompt.to_ints()).value();
    CHECK(prompt.find("\\u00e9\\u00e9\\u00e9") + prompt.find("ééé") != 2 * std::string::npos);

    auto shown = asked;
    shown.rows[0].conversation.push_back({"assistant", "a"});
    graph::Context context;
    const DatumBuilder builder({.method = Method::supervised, .prompts = {renderer}, .max_length = 20000});
    const auto built = builder(shown, context).value();
    REQUIRE(built.rows[0].datum);
    CHECK(tokenizer->decode(built.rows[0].datum->model_input.to_ints()).value().starts_with(prompt.substr(0, prompt.find("q"))));
  }
}

namespace {

Recipe mix_of(const std::string& datasets, int batch_size, int epochs) {
  auto recipe = parse_recipe(R"({"method": "off_policy", "seed": 7, "dataset": )" + datasets + R"(, "teacher": {"client": "simulated"}, "student": {"client": "simulated"},
                                 "training": {"batch_size": )" + std::to_string(batch_size) + R"(, "epochs": )" + std::to_string(epochs) + "}}",
                             "recipe.json", ".", {});
  if (!recipe) FAIL(recipe.error().message);
  return *recipe;
}

}  // namespace

TEST_CASE("in a mix the first dataset's epoch is the run's, and the others run on across theirs") {
  const auto recipe = mix_of(R"([{"path": "a.jsonl", "groups_per_batch": 2}, {"path": "b.jsonl", "groups_per_batch": 3},
                                 {"path": "c.jsonl", "groups_per_batch": 1, "shuffle": false}])", 6, 2);
  const Stores stores{store_of(5), store_of(4), store_of(2)};
  const auto batches = all_batches(recipe, stores);
  REQUIRE(batches.size() == 6);  // 2 epochs of 3 batches, the last of each with 1 row of the first dataset
  std::vector<std::vector<std::uint64_t>> seen(3);
  std::map<std::uint64_t, int> seeds;
  for (std::size_t b = 0; b < batches.size(); ++b) {
    CHECK(batches[b].at == Position{b / 3, b % 3, b});
    std::vector<std::uint64_t> datasets;
    for (const auto& row : batches[b].rows) {
      datasets.push_back(row.dataset);
      seen.at(row.dataset).push_back(row.index);
      ++seeds[row.seed];
    }
    CHECK(datasets == (b % 3 == 2 ? std::vector<std::uint64_t>{0, 1, 1, 1, 2} : std::vector<std::uint64_t>{0, 0, 1, 1, 1, 2}));
  }
  const auto epochs = [](std::uint64_t n, std::size_t rows) {
    std::vector<std::uint64_t> all;
    for (std::uint64_t e = 0; all.size() < rows; ++e) {
      const auto order = default_rng(7 + e).permutation(n);
      all.insert(all.end(), order.begin(), order.end());
    }
    all.resize(rows);
    return all;
  };
  CHECK(seen[0] == epochs(5, 10));
  CHECK(seen[1] == epochs(4, 18));  // its fifth epoch has begun
  CHECK(seen[2] == std::vector<std::uint64_t>{0, 1, 0, 1, 0, 1});
  for (const auto& [seed, times] : seeds) CHECK(times == 1);  // no row in two passes, and no two datasets, share one
}

TEST_CASE("any batch of a mix is a function of its number") {
  const std::vector<DatasetShare> shares{{7, 3}, {4, 9}, {100, 1}};  // the second one passes twice in a batch
  RowOrder in_order(5, shares);
  CHECK(in_order.batches_per_epoch() == 3);
  std::vector<std::vector<RowPlace>> batches;
  for (std::uint64_t step = 0; step < 12; ++step) batches.push_back(in_order.batch(step));
  RowOrder at_random(5, shares);
  for (const std::uint64_t step : {11u, 0u, 7u, 7u, 3u}) CHECK(at_random.batch(step) == batches[step]);
  for (std::size_t step = 0; step < batches.size(); ++step) CHECK(batches[step].size() == (step % 3 == 2 ? 11 : 13));
}

TEST_CASE("a mix names which dataset is empty, and how many there must be") {
  const auto recipe = mix_of(R"([{"path": "a.jsonl", "groups_per_batch": 2}, {"path": "b.jsonl", "groups_per_batch": 3}])", 5, 1);
  CHECK(BatchPlan::make(recipe, std::vector<std::uint64_t>{5, 0}).error().message.find("b.jsonl has no row") != std::string::npos);
  CHECK(BatchPlan::make(recipe, std::vector<std::uint64_t>{5}).error().message.find("2 datasets, and 1") != std::string::npos);
}
