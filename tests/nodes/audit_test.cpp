#include "nodes/audit.hpp"

#include <doctest/doctest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <fstream>
#include <iterator>
#include <numeric>
#include <set>

#include "nodes/batch_source.hpp"
#include "nodes/ledger_columns.hpp"
#include "nodes/metrics_sink.hpp"
#include "nodes/recorded_run.hpp"
#include "nodes/run_diff.hpp"
#include "nodes/run_directory.hpp"
#include "ports/telemetry/jsonl_telemetry.hpp"
#include "tests/nodes/fakes.hpp"

namespace {

using namespace pipestill;
using namespace pipestill::test;
namespace fs = std::filesystem;

/// A directory with data, recipes and runs, gone with the object.
class Workplace {
 public:
  Workplace() {
    static int count = 0;
    path_ = fs::temp_directory_path() / ("pipestill-audit-" + std::to_string(::getpid()) + "-" + std::to_string(count++));
    fs::create_directories(path_);
    write_rows("rows.jsonl", 23);
    write_rows("more.jsonl", 7);
  }
  Workplace(const Workplace&) = delete;
  Workplace& operator=(const Workplace&) = delete;
  ~Workplace() { fs::remove_all(path_); }

  [[nodiscard]] fs::path operator/(const std::string& name) const { return path_ / name; }
  void write_rows(const std::string& name, std::size_t count) const {
    std::ofstream file(path_ / name);
    for (std::size_t i = 0; i < count; ++i) {
      file << R"({"messages":[{"role":"user","content":"question )" << i << R"("},{"role":"assistant","content":"answer"}]})" << '\n';
    }
  }
  [[nodiscard]] Recipe recipe(const std::string& method, std::vector<std::string> sets = {}, const std::string& dataset = R"({"path": "rows.jsonl"})") const {
    std::vector<Override> overrides;
    for (const auto& set : sets) overrides.push_back(*parse_override(set));
    const std::string teacher = method == "supervised" ? "" : R"("teacher": {"client": "simulated", "teacher_model": "guide", "max_tokens": 6, "on_empty": "drop"},)";
    auto recipe = parse_recipe(R"({"method": ")" + method + R"(", "seed": 7, "dataset": )" + dataset + ", " + teacher +
                                   R"("student": {"client": "simulated", "renderer": "role_tokens"}, "training": {"batch_size": 5, "epochs": 2}})",
                               "recipe.json", path_, overrides);
    if (!recipe) FAIL(recipe.error().message);
    return *recipe;
  }
  /// Over simulated models; on a simulated clock, unless the recipe has several threads.
  RunSummary record(const Recipe& recipe, const std::string& out) const {
    std::shared_ptr<Clock> clock;
    if (recipe.engine.threads < 2) clock = std::make_shared<SimulatedClock>();
    const auto summary = record_run(recipe, {.directory = path_ / out, .distillation = {.executor = graph::Executor::small}, .clock = clock});
    if (!summary) FAIL(summary.error().message);
    return *summary;
  }

 private:
  fs::path path_;
};

AuditReport audited(const fs::path& run) {
  auto audit = audit_run(run);
  if (!audit) FAIL(audit.error().message);
  return *std::move(audit);
}
std::string told(const AuditReport& audit) {
  std::string text;
  for (const auto& check : audit.checks) {
    for (const auto& fault : check.first) text += check.name + ": " + fault.message + "\n";
  }
  return text;
}
/// Names of the checks that found something.
std::set<std::string> faulty(const AuditReport& audit) {
  std::set<std::string> names;
  for (const auto& check : audit.checks) {
    if (check.faults > 0) names.insert(check.name);
  }
  return names;
}
std::set<std::string> not_made(const AuditReport& audit) {
  std::set<std::string> names;
  for (const auto& check : audit.checks) {
    if (!check.is_made) names.insert(check.name);
  }
  return names;
}
using Names = std::set<std::string>;

void check_clean(const fs::path& run, std::uint64_t steps) {
  const auto audit = audited(run);
  INFO(told(audit));
  CHECK(audit.faults() == 0);
  CHECK(not_made(audit).empty());
  CHECK(audit.steps == steps);
}

void change_ledger(const fs::path& run, const std::string& sql) {
  sqlite3* database = nullptr;
  REQUIRE(sqlite3_open((run / "run.sqlite").c_str(), &database) == SQLITE_OK);
  char* error = nullptr;
  const int status = sqlite3_exec(database, sql.c_str(), nullptr, nullptr, &error);
  INFO((error ? error : ""));
  REQUIRE(status == SQLITE_OK);
  sqlite3_close(database);
}

std::string text_in(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
void replace_in(const fs::path& path, const std::string& from, const std::string& to) {
  auto text = text_in(path);
  const auto at = text.find(from);
  REQUIRE(at != std::string::npos);
  std::ofstream(path, std::ios::binary) << text.replace(at, from.size(), to);
}

/// What a training loop leaves behind that trains the recipe's batches in this order, and believes what it does to be right.
/// `tells_batches`: it writes down which batch it trained; otherwise, which one it thought was due.
void run_schedule(const Workplace& place, const Recipe& recipe, const std::vector<std::size_t>& order, bool tells_batches, const std::string& out) {
  auto ports = make_ports(recipe, std::make_shared<SimulatedClock>(), nullptr);
  if (!ports) FAIL(ports.error().message);
  std::vector<std::shared_ptr<DatasetStore>> stores{ports->dataset};
  stores.insert(stores.end(), ports->mixed.begin(), ports->mixed.end());
  std::vector<std::uint64_t> sizes;
  for (const auto& store : stores) sizes.push_back(store->size());
  const auto plan = BatchPlan::make(recipe, sizes).value();
  BatchSource source(recipe, plan, stores);
  std::vector<PromptBatch> batches;
  graph::Context context;
  for (auto next = source(context).value(); next; next = source(context).value()) batches.push_back(*next);
  REQUIRE(batches.size() == order.size());

  const auto directory = RunDirectory::create(place / out).value();
  REQUIRE(directory.write_recipe(recipe.resolved));
  const auto ledger = Ledger::create(directory.ledger(), {.recipe_directory = recipe.directory}).value();
  std::ofstream metrics(directory.metrics());
  RunSummary summary;
  for (std::uint64_t step = 0; step < order.size(); ++step) {
    const auto& batch = batches[order[step]];
    StepResult result{.at = batch.at, .rows = batch.rows, .has_trained = true, .distill_loss = 1.5, .datum_digest = std::string(64, 'a')};
    if (!tells_batches) result.at = {step / plan.batches_per_epoch, step % plan.batches_per_epoch, step};
    result.at.step = step;
    for (auto& row : result.rows) result.num_tokens += (row.num_tokens = 3);
    const auto entry = ledger_entry(result);
    REQUIRE(ledger->append(entry, {}));
    metrics << metrics_line(step, metrics_columns(entry, {}));
    ++summary.totals.steps;
    summary.totals.num_prompts += result.rows.size();
    summary.totals.num_tokens += result.num_tokens;
  }
  summary.ledger_digest = to_hex(ledger->digest());
  metrics.close();
  REQUIRE(ledger->close());
  REQUIRE(directory.write_summary(summary.to_json()));
}

const std::string kMix = R"([{"path": "rows.jsonl", "groups_per_batch": 3}, {"path": "more.jsonl", "groups_per_batch": 2}])";

}  // namespace

TEST_CASE("a run of every method is clean, of a mix too, shuffled or not, in whole epochs and in parts of one") {
  const Workplace place;
  struct Case {
    std::string method, dataset;
    std::vector<std::string> sets;
    std::uint64_t steps;
  };
  const std::string one = R"({"path": "rows.jsonl"})";
  const std::vector<Case> cases{{"off_policy", one, {}, 10},
                                {"supervised", one, {"dataset.shuffle=false"}, 10},
                                {"on_policy", one, {"engine.staleness=2", "training.max_steps=7"}, 7},
                                {"off_policy", one, {"dataset.max_prompt_tokens=3", "training.max_length=8"}, 10},
                                {"off_policy", kMix, {}, 16},
                                {"off_policy", kMix, {"training.max_steps=3"}, 3}};
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const auto& c = cases[i];
    INFO(c.method << ", case " << i);
    const auto out = "run" + std::to_string(i);
    const auto summary = place.record(place.recipe(c.method, c.sets, c.dataset), out);
    CHECK(summary.status == RunSummary::Status::finished);
    check_clean(place / out, c.steps);
    CHECK(audited(place / out).ledger_digest == summary.ledger_digest);
    CHECK(boost::json::parse(text_in(place / out / "summary.json")).as_object().at("ledger_digest").as_string() == *summary.ledger_digest);
  }
}

TEST_CASE("the ledger's digest is the same at any depth, and another one for another seed, teacher's answers or data") {
  const Workplace place;
  int n = 0;
  const auto digest = [&](const std::string& method, std::vector<std::string> sets, const std::string& dataset = R"({"path": "rows.jsonl"})") {
    return place.record(place.recipe(method, std::move(sets), dataset), "run" + std::to_string(n++)).ledger_digest.value();
  };
  for (const std::string method : {"off_policy", "on_policy", "supervised"}) {
    const auto reference = digest(method, {"engine.depth=1"});
    CHECK(digest(method, {"engine.depth=4"}) == reference);
    CHECK(digest(method, {"engine.depth=8", "engine.threads=3"}) == reference);
    CHECK(digest(method, {"seed=8"}) != reference);
    CHECK(digest(method, {"dataset.shuffle=false"}) != reference);
    if (method != "supervised") CHECK(digest(method, {"teacher.max_tokens=5"}) != reference);
  }
  const auto reference = digest("off_policy", {"engine.depth=1"});
  fs::copy_file(place / "rows.jsonl", place / "copy.jsonl");
  CHECK(digest("off_policy", {}, R"({"path": "copy.jsonl"})") == reference);
  replace_in(place / "copy.jsonl", "question 0", "question O");
  CHECK(digest("off_policy", {}, R"({"path": "copy.jsonl"})") != reference);
}

TEST_CASE("rows that were skipped or dropped are in the ledger with the reason, and no fault") {
  const Workplace place;
  replace_in(place / "rows.jsonl", R"({"messages":[{"role":"user","content":"question 4"})", R"({"messages":[{"role":"user"})");
  const auto summary = place.record(place.recipe("off_policy", {"dataset.on_bad_row=skip", "teacher.error_rate=0.3", "teacher.on_error=drop", "teacher.on_truncated=drop"}), "run");
  REQUIRE(summary.status == RunSummary::Status::finished);
  CHECK(summary.totals.dropped[DropReason::bad] == 2);
  CHECK(summary.totals.dropped[DropReason::error] > 0);
  check_clean(place / "run", 10);
  DropCounts counted;
  auto reader = LedgerReader::open(place / "run" / "run.sqlite").value();
  for (auto record = reader.next().value(); record; record = reader.next().value()) {
    for (const auto& row : record->entry.rows) {
      CHECK((row.outcome == "trained") == (row.num_tokens > 0));
      CHECK(row.content.has_value() == (row.outcome != "bad"));
      for (std::size_t i = 0; i < kDropReasonNames.size(); ++i) counted.by_reason[i] += row.outcome == kDropReasonNames[i] ? 1 : 0;
    }
  }
  CHECK(counted == summary.totals.dropped);
}

TEST_CASE("a scheduler that trains the first batch twice and never the last is found out, whatever it says that it did") {
  const Workplace place;
  for (const auto& dataset : {std::string(R"({"path": "rows.jsonl"})"), kMix}) {
    for (const bool is_shuffled : {true, false}) {
      auto recipe = place.recipe("off_policy", {}, dataset);
      if (dataset != kMix) recipe = place.recipe("off_policy", {is_shuffled ? "dataset.shuffle=true" : "dataset.shuffle=false"}, dataset);
      const std::size_t steps = dataset == kMix ? 16 : 10;
      std::vector<std::size_t> order(steps);
      std::iota(order.begin(), order.end(), 0);
      run_schedule(place, recipe, order, true, "right");
      check_clean(place / "right", steps);

      for (std::size_t i = steps - 1; i > 0; --i) order[i] = i - 1;  // 0, 0, 1, 2, ...
      for (const bool tells_batches : {true, false}) {
        CAPTURE(tells_batches);
        run_schedule(place, recipe, order, tells_batches, "broken");
        const auto audit = audited(place / "broken");
        INFO(told(audit));
        CHECK(faulty(audit) == (tells_batches ? Names{"batches", "rows", "passes"} : Names{"rows", "passes"}));
        const auto text = told(audit);
        if (tells_batches) {
          CHECK(text.find("step 1: trains batch 0 of epoch 0, where batch 1 of epoch 0 is due; it was trained at step 0 already") != std::string::npos);
          CHECK(text.find(dataset == kMix ? "batch 7 of epoch 1 was never trained" : "batch 4 of epoch 1 was never trained") != std::string::npos);
        }
        CHECK(text.find("passes: step 1: has row ") != std::string::npos);
        CHECK(text.find("a second time in pass 0") != std::string::npos);
        fs::remove_all(place / "broken");
      }
      fs::remove_all(place / "right");
    }
  }
}

TEST_CASE("two batches in each other's place, and two rows in each other's, are found out") {
  const Workplace place;
  const auto recipe = place.recipe("off_policy");
  std::vector<std::size_t> order(10);
  std::iota(order.begin(), order.end(), 0);
  std::swap(order[3], order[6]);
  run_schedule(place, recipe, order, true, "swapped");
  CHECK(faulty(audited(place / "swapped")) == Names{"batches", "rows", "passes"});
  fs::remove_all(place / "swapped");
  std::swap(order[3], order[6]);
  std::swap(order[2], order[3]);  // in one epoch: no row is missing, none comes twice
  run_schedule(place, recipe, order, false, "swapped");
  CHECK(faulty(audited(place / "swapped")) == Names{"rows"});

  run_schedule(place, recipe, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, true, "rows");
  change_ledger(place / "rows", "UPDATE rows SET place = 100 WHERE step = 3 AND place = 0; UPDATE rows SET place = 0 WHERE step = 3 AND place = 1;"
                                "UPDATE rows SET place = 1 WHERE step = 3 AND place = 100;");
  const auto audit = audited(place / "rows");
  CHECK(faulty(audit) == Names{"digests", "rows", "summary"});
  CHECK(told(audit).find("rows: step 3: place 0 has row ") != std::string::npos);
}

TEST_CASE("whatever is changed in a run's files afterwards is a fault that says where") {
  const Workplace place;
  REQUIRE(place.record(place.recipe("on_policy", {"engine.staleness=1"}), "clean").status == RunSummary::Status::finished);
  check_clean(place / "clean", 10);
  struct Change {
    std::string sql, fault;
    Names faulty;
  };
  const std::vector<Change> changes{
      {"DELETE FROM batches WHERE step = 4; DELETE FROM rows WHERE step = 4", "steps: step 5: step 4 before it is missing",
       {"steps", "digests", "batches", "passes", "metrics", "summary"}},
      {"DELETE FROM batches WHERE step = 9", "ledger: step 9 has rows and no batch", {"ledger", "metrics", "summary"}},
      {"DELETE FROM batches WHERE step = 9; DELETE FROM rows WHERE step = 9", "metrics.jsonl has more lines", {"metrics", "summary"}},
      {"DELETE FROM rows WHERE step = 4 AND place = 1", "step 4: row 1 of the batch is missing", {"ledger", "metrics", "summary"}},
      {"DELETE FROM rows WHERE step = 4 AND place = 2", "rows: step 4: place 2 has nothing, where row ", {"digests", "rows", "passes", "tokens", "metrics", "summary"}},
      {"UPDATE rows SET row = (SELECT row FROM rows WHERE step = 3 AND place = 0) WHERE step = 4 AND place = 0", "passes: step 4: has row ",
       {"digests", "rows", "passes", "contents", "summary"}},
      {"UPDATE rows SET content = randomblob(32) WHERE step = 4 AND place = 0", "contents: step 4: row ", {"digests", "contents", "summary"}},
      {"UPDATE rows SET content = NULL WHERE step = 4 AND place = 0", "was skipped as bad, and can be read", {"digests", "contents", "summary"}},
      {"UPDATE rows SET teacher = 'another' WHERE step = 4 AND place = 0", "asked of the teacher \"another\"", {"rows"}},
      {"UPDATE rows SET outcome = 'whatever' WHERE step = 4 AND place = 0", "tokens: step 4: row ", {"digests", "tokens", "summary"}},
      {"UPDATE rows SET num_tokens = num_tokens + 1 WHERE step = 4 AND place = 0", "its rows train ", {"digests", "tokens", "summary"}},
      {"UPDATE batches SET student_version = 4 WHERE step = 4", "staleness: step 4: was sampled with version 4 of the student, where version 3 of the student is due",
       {"digests", "staleness", "metrics", "summary"}},
      {"UPDATE batches SET student_version = NULL WHERE step = 4", "was sampled with no student", {"digests", "staleness", "metrics", "summary"}},
      {"UPDATE batches SET distill_loss = distill_loss + 1 WHERE step = 4", "metrics: step 4: metrics.jsonl says distill_loss", {"digests", "metrics", "summary"}},
      {"UPDATE batches SET digest = randomblob(32) WHERE step = 4", "digests: step 4: ", {"digests"}},
      {"UPDATE batches SET observed_time_ns = 1 WHERE step = 4", "metrics: step 4: metrics.jsonl says observed", {"metrics"}},
      {"UPDATE batches SET epoch = 7 WHERE step = 4", "batches: step 4: trains batch 4 of epoch 7, where batch 4 of epoch 0 is due", {"digests", "batches", "metrics", "summary"}},
      {"UPDATE batches SET step = 9223372036854775807 WHERE step = 9; UPDATE rows SET step = 9223372036854775807 WHERE step = 9", "steps 9 to 9223372036854775806 before it are missing",
       {"steps", "digests", "batches", "staleness", "metrics", "summary"}},
      {"DROP TABLE rows", "its tables are others", {"ledger"}},
  };
  for (const auto& change : changes) {
    INFO(change.sql);
    fs::remove_all(place / "changed");
    fs::copy(place / "clean", place / "changed", fs::copy_options::recursive);
    change_ledger(place / "changed", change.sql);
    const auto audit = audited(place / "changed");
    INFO(told(audit));
    CHECK(faulty(audit) == change.faulty);
    CHECK(told(audit).find(change.fault) != std::string::npos);
  }

  struct FileChange {
    std::string file, from, to, fault;
    Names faulty;
  };
  const std::vector<FileChange> file_changes{
      {"metrics.jsonl", R"("step":4,)", R"("step":5,)", "metrics: step 4: metrics.jsonl says step 5, and the ledger 4", {"metrics"}},
      {"metrics.jsonl", "{\"step\":9,", "{\"step\":9,\"more\":1,", "has more in it", {"metrics"}},
      {"metrics.jsonl", "{\"step\":8,", "{\"step\":8", "metrics: step 8: its line of metrics.jsonl", {"metrics"}},
      {"summary.json", R"("steps": 10)", R"("steps": 11)", "summary.json says steps 11, and the ledger 10", {"summary"}},
      {"summary.json", R"("ledger_digest": ")", R"("ledger_digest": "0)", "summary.json says ledger_digest 0", {"summary"}},
      {"summary.json", "{", "[", "summary: ", {"summary"}},
      {"recipe.json", R"("staleness": 1)", R"("staleness": 2)", "where version 0 of the student is due", {"staleness"}},
      {"recipe.json", R"("max_steps": null)", R"("max_steps": 9)", "is behind the run's end", {"batches", "summary"}},
      {"recipe.json", R"("seed": 7)", R"("seed": 8)", "rows: step 0: ", {"rows"}},
      {"recipe.json", "{", "[", "recipe: ", {"recipe"}},
  };
  for (const auto& change : file_changes) {
    INFO(change.file << ": " << change.from << " becomes " << change.to);
    fs::remove_all(place / "changed");
    fs::copy(place / "clean", place / "changed", fs::copy_options::recursive);
    replace_in(place / "changed" / change.file, change.from, change.to);
    const auto audit = audited(place / "changed");
    INFO(told(audit));
    CHECK(faulty(audit) == change.faulty);
    CHECK(told(audit).find(change.fault) != std::string::npos);
  }
}

TEST_CASE("a ledger that is damaged anywhere is a fault, or its batches are as they were") {
  const Workplace place;
  const auto summary = place.record(place.recipe("on_policy", {"engine.staleness=1"}), "run");
  const auto ledger = text_in(place / "run/run.sqlite");
  int found = 0;
  const auto look_at = [&](const std::string& bytes) {
    std::ofstream(place / "run/run.sqlite", std::ios::binary) << bytes;
    const auto audit = audit_run(place / "run");
    if (!audit) {
      CHECK(audit.error().code == ErrorCode::invalid_input);
      return;
    }
    found += audit->faults() > 0 ? 1 : 0;
    if (audit->faults() == 0) CHECK(audit->ledger_digest == summary.ledger_digest);
  };
  for (std::size_t at = 0; at < ledger.size(); at += 509) {
    look_at(ledger.substr(0, at));
    auto bytes = ledger;
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << at % 8));
    look_at(bytes);
  }
  CHECK(found > 0);
}

TEST_CASE("the data of a run are looked for where its recipe was and then in its directory, and what cannot be checked without them is said") {
  const Workplace place;
  place.record(place.recipe("off_policy"), "run");
  replace_in(place / "rows.jsonl", "question 3\"", "question E\"");
  auto audit = audited(place / "run");
  CHECK(faulty(audit) == Names{"datasets", "contents"});
  CHECK(told(audit).find("had another content than the dataset gives it now") != std::string::npos);

  fs::remove(place / "rows.jsonl");
  audit = audited(place / "run");
  INFO(told(audit));
  CHECK(faulty(audit) == Names{"datasets"});
  CHECK(told(audit).find("which rows are due cannot be checked: ") != std::string::npos);
  CHECK(not_made(audit) == Names{"batches", "rows", "passes", "contents"});
  place.write_rows("run/rows.jsonl", 23);
  check_clean(place / "run", 10);

  fs::remove(place / "run/recipe.json");
  audit = audited(place / "run");
  CHECK(faulty(audit) == Names{"recipe"});
  CHECK(not_made(audit) == Names{"datasets", "batches", "rows", "passes", "contents", "staleness"});
  fs::remove(place / "run/run.sqlite");
  const auto nothing = audit_run(place / "run");
  REQUIRE(!nothing);
  CHECK(nothing.error().code == ErrorCode::invalid_input);
  CHECK(nothing.error().message.find("holds no run") != std::string::npos);

  place.write_rows("rows.jsonl", 23);
  place.record(place.recipe("off_policy"), "other");
  fs::remove(place / "other/run.sqlite");
  audit = audited(place / "other");
  CHECK(faulty(audit) == Names{"ledger"});
  CHECK(told(audit).find("there is no ledger at") != std::string::npos);
}

TEST_CASE("a run that has no summary yet may lack the lines of its last steps, and a stopped one may have entries behind its cut") {
  const Workplace place;
  place.record(place.recipe("off_policy"), "run");
  auto text = text_in(place / "run/metrics.jsonl");
  fs::copy_file(place / "run/summary.json", place / "summary.json");
  fs::remove(place / "run/summary.json");
  text.pop_back();
  std::ofstream(place / "run/metrics.jsonl", std::ios::binary) << text;  // killed before the end of the line
  check_clean(place / "run", 10);
  text.erase(text.rfind('\n') + 1);
  std::ofstream(place / "run/metrics.jsonl", std::ios::binary) << text;
  check_clean(place / "run", 10);
  auto shorter = text;
  shorter.pop_back();
  shorter.erase(shorter.rfind('\n') + 1);
  std::ofstream(place / "run/metrics.jsonl", std::ios::binary) << shorter;  // cut back to its checkpoint by a process that was killed in its turn
  check_clean(place / "run", 10);
  std::ofstream(place / "run/metrics.jsonl", std::ios::binary) << shorter.substr(shorter.find('\n') + 1);
  CHECK(faulty(audited(place / "run")) == Names{"metrics"});

  // Stopped after 9 steps, once it had been resumed from an earlier one; step 9 is still an expectation.
  std::ofstream(place / "run/metrics.jsonl", std::ios::binary) << text;
  const auto ledger = Ledger::open(place / "run/run.sqlite", 9).value();
  std::uint64_t tokens = 0, rows = 0;
  for (std::uint64_t step = 0; step < 9; ++step) {
    const auto entry = ledger->read(step).value().entry;
    tokens += entry.num_tokens;
    rows += entry.rows.size();
  }
  std::ofstream(place / "run/summary.json") << boost::json::serialize(boost::json::object{
      {"status", "stopped"}, {"steps", 9}, {"num_tokens", tokens}, {"num_prompts", rows}, {"ledger_digest", to_hex(ledger->digest())}});
  REQUIRE(ledger->close());
  check_clean(place / "run", 10);
  std::ofstream(place / "run/metrics.jsonl", std::ios::binary) << shorter;
  CHECK(faulty(audited(place / "run")) == Names{"metrics"});
  replace_in(place / "run/summary.json", "stopped", "finished");
  CHECK(faulty(audited(place / "run")) == Names{"metrics", "summary"});
}

TEST_CASE("metrics.jsonl is made again from the ledger, up to the step at which it was opened") {
  const Workplace place;
  place.record(place.recipe("on_policy", {"engine.staleness=1"}), "run");
  const auto written = text_in(place / "run/metrics.jsonl");
  for (const std::uint64_t cursor : {0u, 4u, 10u}) {
    std::size_t end = 0;
    for (std::uint64_t line = 0; line < cursor; ++line) end = written.find('\n', end) + 1;
    const auto ledger = Ledger::open(place / "run/run.sqlite", cursor).value();
    REQUIRE(rewrite_metrics(*ledger, place / "run/metrics.jsonl"));
    CHECK(text_in(place / "run/metrics.jsonl") == written.substr(0, end));
    CHECK(!fs::exists(place / "run/metrics.jsonl.part"));
    REQUIRE(ledger->close());
  }
}

TEST_CASE("a run whose batches were recorded before must come to the same, or it ends where it does not") {
  const Workplace place;
  const auto first = place.record(place.recipe("off_policy"), "run");
  const auto again = [&](const Recipe& recipe) {
    auto ports = make_ports(recipe, std::make_shared<SimulatedClock>(), nullptr).value();
    ports.ledger = Ledger::open(place / "run/run.sqlite", 0).value();
    auto summary = distil(recipe, ports, {.executor = graph::Executor::small});
    REQUIRE(ports.ledger->close());
    return summary;
  };
  const auto same = again(place.recipe("off_policy", {"engine.depth=2"}));
  CHECK(same.status == RunSummary::Status::finished);
  CHECK(same.ledger_digest == first.ledger_digest);
  const auto other = again(place.recipe("off_policy", {"training.learning_rate=0.5", "training.warmup_steps=4"}));
  CHECK(other.status == RunSummary::Status::failed);
  REQUIRE(other.failure);
  CHECK(other.failure->stage == "metrics_sink");
  CHECK(other.failure->seq->value == 0);
  CHECK(other.failure->error.code == ErrorCode::backend_failed);
  CHECK(other.failure->error.message.find("learning_rate") != std::string::npos);
  CHECK(other.totals.steps == 0);
  CHECK(audit_run(place / "run").value().ledger_digest == first.ledger_digest);  // as it was
}

TEST_CASE("what the ledger refuses fails the batch, and nobody hears of it; a ledger at another step than the run's is refused before it begins") {
  const Workplace place;
  const auto ledger = std::shared_ptr<Ledger>(Ledger::create(place / "run.sqlite", {}).value());
  const auto telemetry = std::make_shared<RecordingTelemetry>();
  const auto totals = std::make_shared<RunTotals>();
  int steps_seen = 0;
  const MetricsSink sink(telemetry, std::make_shared<SimulatedClock>(), totals, [&](const StepResult&) { ++steps_seen; }, ledger);
  graph::Context context;
  const auto refused = sink({.at = {0, 3, 3}, .rows = {Row{.dropped = DropReason::bad}}}, context);
  REQUIRE(!refused);
  CHECK(refused.error().code == ErrorCode::internal);
  CHECK(telemetry->rows.empty());
  CHECK(telemetry->events.empty());
  CHECK(totals->steps == 0);
  CHECK(steps_seen == 0);
  REQUIRE(sink({.at = {0, 0, 0}, .rows = {Row{.dropped = DropReason::bad}}}, context));
  CHECK(telemetry->rows.size() == 1);
  CHECK(steps_seen == 1);
  CHECK(ledger->next_step() == 1);

  const auto recipe = place.recipe("off_policy");
  auto ports = make_ports(recipe, std::make_shared<SimulatedClock>(), nullptr).value();
  ports.ledger = ledger;
  const auto summary = distil(recipe, ports, {.executor = graph::Executor::small});
  REQUIRE(summary.failure);
  CHECK(summary.failure->error.code == ErrorCode::invalid_input);
  CHECK(summary.failure->error.message.find("its ledger is at step 1") != std::string::npos);
}

TEST_CASE("diff names batch, row and field where two ledgers differ, and reads metrics.jsonl where one is missing") {
  const Workplace place;
  place.record(place.recipe("off_policy"), "a");
  place.record(place.recipe("off_policy", {"engine.depth=1"}), "b");
  change_ledger(place / "b", "UPDATE rows SET teacher = 'elsewhere/guide'");  // where a model lies is no difference
  auto compared = compare_runs(place / "a", place / "b").value();
  CHECK(!compared.difference);
  CHECK(compared.steps == 10);
  CHECK(compared.has_weights);

  change_ledger(place / "b", "UPDATE rows SET outcome = 'empty' WHERE step = 6 AND place = 2");
  compared = compare_runs(place / "a", place / "b").value();
  REQUIRE(compared.difference);
  CHECK(compared.difference->step == 6);
  CHECK(compared.difference->field == "rows[2].outcome");
  CHECK(compared.difference->a == "\"trained\"");
  CHECK(compared.difference->b == "\"empty\"");

  fs::remove(place / "b/run.sqlite");
  CHECK(!compare_runs(place / "a", place / "b").value().difference);  // as metrics.jsonl has it
  replace_in(place / "b/metrics.jsonl", R"("num_prompts":3)", R"("num_prompts":4)");
  compared = compare_runs(place / "a", place / "b").value();
  REQUIRE(compared.difference);
  CHECK(compared.difference->step == 4);
  CHECK(compared.difference->field == "num_prompts");

  place.record(place.recipe("off_policy", {"training.max_steps=6"}), "c");
  compared = compare_runs(place / "a", place / "c").value();
  REQUIRE(compared.difference);
  CHECK(compared.difference->step == 6);
  CHECK(compared.difference->field == "step");
  CHECK(compared.difference->b == "nothing");
}
