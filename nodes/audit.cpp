#include "nodes/audit.hpp"

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <fstream>
#include <map>
#include <memory>
#include <numeric>
#include <system_error>
#include <utility>

#include <spdlog/fmt/fmt.h>

#include "nodes/batch_source.hpp"
#include "nodes/ledger_columns.hpp"
#include "nodes/recipe.hpp"
#include "nodes/row_order.hpp"
#include "nodes/run_identity.hpp"
#include "ports/checkpoint/ledger.hpp"
#include "ports/dataset/dataset_factory.hpp"
#include "ports/printable.hpp"
#include "ports/strict_json.hpp"
#include "ports/telemetry/jsonl_telemetry.hpp"
#include "ports/text_file.hpp"

namespace fs = std::filesystem;
namespace json = boost::json;

namespace pipestill {
namespace {

constexpr std::uint64_t kMostSteps = std::uint64_t{1} << 40;  // of any run

// In the order of AuditReport::checks.
enum class Check { recipe, datasets, ledger, steps, digests, batches, rows, passes, contents, staleness, tokens, metrics, summary };

std::vector<AuditCheck> all_checks() {
  return {{"recipe", "recipe.json can be read"},
          {"datasets", "the datasets that the recipe names are there, with the content that it names"},
          {"ledger", "run.sqlite is a whole ledger"},
          {"steps", "the steps go on from 0 without a gap"},
          {"digests", "every cumulative digest is that of the columns up to it"},
          {"batches", "every step trains the batch that is due, once"},
          {"rows", "every batch has the rows that the recipe's seed gives it, in their order, asked of the recipe's teachers"},
          {"passes", "every pass through a dataset has each of its rows once"},
          {"contents", "every row says what the dataset says"},
          {"staleness", "every batch met the student that engine.staleness says"},
          {"tokens", "every row is trained or dropped for a reason, and tokens add up"},
          {"metrics", "metrics.jsonl says what the ledger says"},
          {"summary", "summary.json says what the ledger says"}};
}

/// Every row of a dataset once a pass. It knows nothing of orders.
class PassCounter {
 public:
  explicit PassCounter(std::uint64_t rows) : seen_(rows, false) {}

  /// What is wrong with the next row that comes, if anything is.
  std::vector<std::string> take(std::uint64_t row) {
    std::vector<std::string> wrong;
    if (row >= seen_.size()) {
      wrong.push_back(fmt::format("has row {}, of only {}", row, seen_.size()));
    } else if (seen_[row]) {
      wrong.push_back(fmt::format("has row {} a second time in pass {}", row, pass_));
    } else {
      seen_[row] = true;
    }
    if (++taken_ < seen_.size()) return wrong;
    const auto missing = std::ranges::count(seen_, false);
    if (missing > 0) {
      const auto first = std::ranges::find(seen_, false) - seen_.begin();
      wrong.push_back(fmt::format("ends pass {} without row {}{}", pass_, first, missing > 1 ? fmt::format(" and {} others", missing - 1) : std::string()));
    }
    seen_.assign(seen_.size(), false);
    taken_ = 0;
    ++pass_;
    return wrong;
  }

 private:
  std::vector<bool> seen_;
  std::uint64_t taken_ = 0, pass_ = 0;
};

/// A stretch of batches, to the next part's, that one recipe asks for.
struct AuditedPart {
  std::uint64_t from = 0;
  Recipe recipe;
  std::vector<std::shared_ptr<DatasetStore>> datasets = {};
  std::optional<BatchPlan> plan = std::nullopt;  // empty: nothing is known of what is due
  std::optional<RowOrder> order = std::nullopt;
  std::vector<PassCounter> passes = {};
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint64_t> trained_at = {};  // epoch and batch to the first step
};

class Audit {
 public:
  explicit Audit(fs::path run) : run_(std::move(run)), metrics_(run_ / "metrics.jsonl") { report_.checks = all_checks(); }

  Result<AuditReport> operator()() {
    std::error_code ignored;
    const bool has_ledger = fs::exists(run_ / "run.sqlite", ignored);
    if (!has_ledger && !fs::exists(run_ / "recipe.json", ignored)) {
      return fail(ErrorCode::invalid_input, run_.string() + " holds no run: name a run directory, as `pipestill run --out` makes it");
    }
    read_recipe_and_summary();
    auto ledger = LedgerReader::open(run_ / "run.sqlite");
    if (!ledger && ledger.error().code == ErrorCode::backend_failed) return fail(std::move(ledger.error()));
    if (ledger) {
      for (auto& part : parts_) open_datasets(part, ledger->origin().recipe_directory);
      if (auto read = read_entries(*ledger); !read) fault(Check::ledger, std::nullopt, std::move(read.error().message));
      check_the_end();
    } else {
      fault(Check::ledger, std::nullopt, std::move(ledger.error().message));
      for (auto check : {Check::datasets, Check::steps, Check::digests, Check::batches, Check::tokens, Check::metrics, Check::summary}) not_made(check);
    }
    if (parts_.empty() || !ledger) not_made(Check::staleness);
    if (parts_.empty()) not_made(Check::datasets);
    for (auto check : {Check::batches, Check::rows, Check::passes, Check::contents}) {
      if (parts_.empty() || std::ranges::any_of(parts_, [](const AuditedPart& part) { return !part.plan; })) not_made(check);
    }
    report_.ledger_digest = to_hex(digest_);
    return std::move(report_);
  }

 private:
  void fault(Check check, std::optional<std::uint64_t> step, std::string message) {
    auto& of = report_.checks[static_cast<std::size_t>(check)];
    ++of.faults;
    const auto with_step = std::ranges::count_if(of.first, [](const AuditFault& told) { return told.step.has_value(); });
    if (step && static_cast<std::size_t>(with_step) >= kMostToldFaults) return;
    of.first.push_back({step, step ? fmt::format("step {}: {}", *step, message) : std::move(message)});
  }

  void not_made(Check check) { report_.checks[static_cast<std::size_t>(check)].is_made = false; }

  void read_recipe_and_summary() {
    auto recipe = read_recipe(run_ / "recipe.json", {});
    if (recipe) read_parts(*std::move(recipe));
    else fault(Check::recipe, std::nullopt, std::move(recipe.error().message));
    const auto path = run_ / "summary.json";
    std::error_code ignored;
    if (!fs::exists(path, ignored)) return;  // a killed run has none
    const auto text = read_text_file(path);
    auto parsed = text ? parse_strict_json(*text, path.string()) : Result<json::value>(fail(text.error()));
    if (parsed && parsed->is_object()) summary_ = std::move(parsed->get_object());
    else fault(Check::summary, std::nullopt, parsed ? path.string() + " is no JSON object" : std::move(parsed.error().message));
  }

  /// The recipes before `last`, where it was changed on purpose, stand in identity.json.
  void read_parts(Recipe last) {
    const auto file = run_ / "identity.json";
    const auto identity = RunIdentity::read(file);
    if (!identity) fault(Check::recipe, std::nullopt, identity.error().message);
    const auto parts = identity ? identity->parts_with_batches() : std::vector<RunPart>();
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
      auto recipe = parse_recipe(json::serialize(parts[i].recipe), file.string(), run_, {});
      if (!recipe) fault(Check::recipe, std::nullopt, std::move(recipe.error().message));
      else parts_.push_back({.from = parts[i].from, .recipe = *std::move(recipe)});
    }
    parts_.push_back({.from = parts.empty() ? 0 : parts.back().from, .recipe = std::move(last)});
  }

  void open_datasets(AuditedPart& part, const fs::path& recipe_directory) {
    std::vector<std::uint64_t> sizes;
    for (const auto& dataset : part.recipe.datasets()) {
      const auto opened = open_one(part.recipe, dataset, recipe_directory);
      if (!opened) {
        fault(Check::datasets, std::nullopt, "which rows are due cannot be checked: " + opened.error().message);
        return;
      }
      part.datasets.push_back(*opened);
      sizes.push_back(part.datasets.back()->size());
    }
    auto plan = BatchPlan::make(part.recipe, sizes);
    if (!plan) return fault(Check::datasets, std::nullopt, "which rows are due cannot be checked: " + plan.error().message);
    part.plan = *std::move(plan);
    part.order.emplace(part.recipe.seed, part.plan->datasets);
    for (const auto size : sizes) part.passes.emplace_back(size);
  }

  /// The passes that go on in a part's first batches began in batches that it does not have: as they would have come by its own order.
  void begin_passes(AuditedPart& part) {
    if (!part.trained_at.empty() || !part.plan) return;
    for (std::uint64_t step = 0; step < std::min({part.from, report_.steps, last_step(part)}); ++step) {
      for (const auto& place : part.order->batch(step)) part.passes[place.dataset].take(place.index);
    }
  }

  Result<std::shared_ptr<DatasetStore>> open_one(const Recipe& recipe, const Recipe::Dataset& dataset, const fs::path& recipe_directory) {
    auto at = recipe;
    at.directory = recipe_directory;
    std::error_code ignored;
    if (!fs::exists(at.locate(dataset.path), ignored) && fs::exists(run_ / dataset.path, ignored)) at.directory = run_;
    auto opened = open_dataset(at.locate(dataset.path),
                               {.table = dataset.table, .query = dataset.query, .cache = dataset.cache.empty() ? dataset.cache : at.locate(dataset.cache)});
    if (!opened) return fail(std::move(opened.error()));
    std::shared_ptr<DatasetStore> store = *std::move(opened);
    if (!dataset.fingerprint.empty() && store->fingerprint() != dataset.fingerprint) {
      fault(Check::datasets, std::nullopt,
            "the lines of " + at.locate(dataset.path).string() + " have the SHA-256 " + store->fingerprint() + ", and the run had " + printable(dataset.fingerprint, 64));
    }
    return store;
  }

  Result<void> read_entries(LedgerReader& ledger) {
    if (!metrics_) fault(Check::metrics, std::nullopt, "cannot read " + (run_ / "metrics.jsonl").string());
    for (;;) {
      const auto record = ledger.next();
      if (!record) return fail(record.error());
      if (!*record) break;
      check_entry(**record);
      ++report_.steps;
    }
    const auto stray = ledger.step_without_batch();
    if (!stray) return fail(stray.error());
    if (*stray) fault(Check::ledger, std::nullopt, fmt::format("step {} has rows and no batch: its batch is gone", **stray));
    return {};
  }

  void check_entry(const LedgerRecord& record) {
    const auto& entry = record.entry;
    const auto step = entry.step;
    if (step != next_step_) {
      fault(Check::steps, step, step == next_step_ + 1 ? fmt::format("step {} before it is missing", next_step_) : fmt::format("steps {} to {} before it are missing", next_step_, step - 1));
    }
    next_step_ = step + 1;
    // From what was written before it: one broken entry is one fault, or two.
    if (ledger_digest(stored_digest_, entry) != record.digest) fault(Check::digests, step, "its digest is not that of its columns and the entries before it");
    stored_digest_ = record.digest;
    digest_ = ledger_digest(digest_, entry);
    if (auto* part = part_at(step)) {
      begin_passes(*part);
      check_place(*part, entry);
      if (part->plan && step < last_step(*part)) check_rows(*part, entry);
      check_student(part->recipe, entry);
    }
    check_tokens(entry);
    if (counts(step)) {
      check_metrics(record);
      counted_digest_ = digest_;
      counted_tokens_ += entry.num_tokens;
      counted_prompts_ += entry.rows.size();
    }
  }

  /// Entries from the cut of a run that was stopped or failed on only stand as expectations for whoever resumes it.
  [[nodiscard]] bool counts(std::uint64_t step) const {
    const auto steps = summary_number("steps");
    return !steps || step < *steps || summary_text("status") == "finished";
  }

  /// Null: no recipe is known.
  [[nodiscard]] AuditedPart* part_at(std::uint64_t step) {
    for (auto part = parts_.rbegin(); part != parts_.rend(); ++part) {
      if (part->from <= step) return &*part;
    }
    return parts_.empty() ? nullptr : &parts_.front();
  }

  /// What stands behind it is not looked at: a number of a damaged file may be anything.
  [[nodiscard]] static std::uint64_t last_step(const AuditedPart& part) { return std::min(part.plan->total_steps(), kMostSteps); }

  void check_place(AuditedPart& part, const LedgerEntry& entry) {
    const auto& plan = part.plan;
    const auto [first, is_new] = part.trained_at.try_emplace({entry.epoch, entry.batch}, entry.step);
    const auto what = fmt::format("batch {} of epoch {}", entry.batch, entry.epoch);
    const auto again = is_new ? std::string() : fmt::format("; it was trained at step {} already", first->second);
    if (!plan) {
      if (!is_new) fault(Check::batches, entry.step, "trains " + what + again);
      return;
    }
    const auto due_epoch = entry.step / plan->batches_per_epoch, due_batch = entry.step % plan->batches_per_epoch;
    if (entry.epoch != due_epoch || entry.batch != due_batch) {
      fault(Check::batches, entry.step, fmt::format("trains {}, where batch {} of epoch {} is due{}", what, due_batch, due_epoch, again));
    } else if (!is_new) {
      fault(Check::batches, entry.step, "trains " + what + again);
    }
    if (entry.step >= last_step(part)) fault(Check::batches, entry.step, fmt::format("is behind the run's end: the recipe has {} steps", last_step(part)));
  }

  void check_rows(AuditedPart& part, const LedgerEntry& entry) {
    const auto due = part.order->batch(entry.step);
    const auto name = [](std::uint64_t index, std::uint64_t dataset) { return fmt::format("row {} of dataset {}", index, dataset); };
    for (std::size_t i = 0; i < std::max(due.size(), entry.rows.size()); ++i) {
      const auto found_name = i < entry.rows.size() ? name(entry.rows[i].index, entry.rows[i].dataset) : std::string("nothing");
      const auto due_name = i < due.size() ? name(due[i].index, due[i].dataset) : std::string("nothing");
      if (found_name == due_name) continue;
      fault(Check::rows, entry.step, fmt::format("place {} has {}, where {} is due", i, found_name, due_name));
      break;
    }
    for (const auto& row : entry.rows) {
      if (row.dataset >= part.datasets.size()) {
        fault(Check::passes, entry.step, fmt::format("has a row of dataset {}, and the recipe names {}", row.dataset, part.datasets.size()));
        continue;
      }
      for (const auto& wrong : part.passes[row.dataset].take(row.index)) {
        fault(Check::passes, entry.step, wrong + (part.datasets.size() > 1 ? fmt::format(" of dataset {}", row.dataset) : std::string()));
      }
      if (row.index < part.datasets[row.dataset]->size()) check_content(part, entry.step, row);
    }
  }

  void check_content(const AuditedPart& part, std::uint64_t step, const LedgerRow& row) {
    const auto name = fmt::format("row {} of dataset {}", row.index, row.dataset);
    const auto read = read_row(part.recipe, *part.datasets[row.dataset], {.dataset = row.dataset, .epoch = 0, .index = row.index});
    if (!read) {
      const bool may_be_skipped = read.error().code == ErrorCode::invalid_input && part.recipe.dataset_at(row.dataset).on_bad_row == BadRowPolicy::skip;
      const bool was_skipped = !row.content && row.outcome == kDropReasonNames[static_cast<std::size_t>(DropReason::bad)];
      if (!may_be_skipped || !was_skipped) fault(Check::contents, step, name + " cannot be read, and was not skipped as bad: " + read.error().message);
      return;
    }
    if (row.content != read->content) {
      fault(Check::contents, step, name + (row.content ? " had another content than the dataset gives it now" : " was skipped as bad, and can be read"));
    } else if (row.teacher != read->teacher || row.renderer != read->renderer) {
      fault(Check::rows, step,
            fmt::format("{} was asked of the teacher \"{}\" and written by the renderer \"{}\", where the recipe names \"{}\" and \"{}\"", name, printable(row.teacher),
                        printable(row.renderer), printable(read->teacher), printable(read->renderer)));
    }
  }

  void check_student(const Recipe& recipe, const LedgerEntry& entry) {
    const auto shown = [](const std::optional<std::uint64_t>& version) { return version ? fmt::format("version {} of the student", *version) : std::string("no student"); };
    std::optional<std::uint64_t> due;
    if (recipe.method == Method::on_policy) due = entry.step > recipe.engine.staleness ? entry.step - recipe.engine.staleness : 0;
    if (entry.student_version == due) return;
    fault(Check::staleness, entry.step, fmt::format("was sampled with {}, where {} is due", shown(entry.student_version), shown(due)));
  }

  void check_tokens(const LedgerEntry& entry) {
    for (const auto& row : entry.rows) {
      const bool is_trained = row.outcome == kTrained;
      const auto name = fmt::format("row {} of dataset {}", row.index, row.dataset);
      if (!is_trained && std::ranges::find(kDropReasonNames, row.outcome) == kDropReasonNames.end()) {
        fault(Check::tokens, entry.step, fmt::format("{} has the outcome \"{}\", which is none", name, printable(row.outcome)));
      } else if (is_trained != (row.num_tokens > 0)) {
        fault(Check::tokens, entry.step, fmt::format("{} has the outcome \"{}\" and trains {} tokens", name, row.outcome, row.num_tokens));
      }
    }
    const auto sum = std::accumulate(entry.rows.begin(), entry.rows.end(), std::uint64_t{0}, [](std::uint64_t n, const LedgerRow& row) { return n + row.num_tokens; });
    if (sum != entry.num_tokens) fault(Check::tokens, entry.step, fmt::format("its rows train {} tokens, and the batch {}", sum, entry.num_tokens));
  }

  void check_metrics(const LedgerRecord& record) {
    if (!metrics_) return;  // told before, or at the line that was missing
    const auto step = record.entry.step;
    const auto expected = metrics_line(step, metrics_columns(record.entry, record.observed));
    std::string line;
    std::getline(metrics_, line);
    if (!metrics_ || metrics_.eof()) {  // without the end of its line, it is cut off
      metrics_.setstate(std::ios::failbit);
      missing_line_ = step;
      return;
    }
    if (line + "\n" == expected) return;
    fault(Check::metrics, step, difference_from(line, expected));
  }

  /// What a line of metrics.jsonl says otherwise than `expected`.
  static std::string difference_from(const std::string& line, const std::string& expected) {
    const auto found = parse_strict_json(line, "its line of metrics.jsonl");
    if (!found) return found.error().message;
    const auto due = parse_strict_json(expected, "");
    const auto* object = found->if_object();
    for (const auto& [key, value] : due->as_object()) {
      const auto* other = object ? object->if_contains(key) : nullptr;
      if (other && *other == value) continue;
      return fmt::format("metrics.jsonl says {} {}, and the ledger {}", std::string_view(key.data(), key.size()), other ? printable(json::serialize(*other), 200) : "nothing",
                         json::serialize(value));
    }
    return "its line of metrics.jsonl has more in it than the ledger, or is written otherwise";
  }

  [[nodiscard]] std::optional<std::uint64_t> summary_number(json::string_view key) const {
    const auto* value = summary_ ? summary_->if_contains(key) : nullptr;
    json::error_code error;
    const auto number = value ? value->to_number<std::uint64_t>(error) : 0;
    return value && !error ? std::optional(number) : std::nullopt;
  }
  [[nodiscard]] std::string summary_text(json::string_view key) const {
    const auto* value = summary_ ? summary_->if_contains(key) : nullptr;
    return value && value->is_string() ? std::string(value->get_string().data(), value->get_string().size()) : "";
  }

  /// Of the batches that were due before step `end`.
  void check_all_came(const AuditedPart& part, std::uint64_t end) {
    const auto per_epoch = part.plan->batches_per_epoch;
    const auto was_due = [&](const auto& trained) {
      const auto [epoch, batch] = trained.first;
      if (batch >= per_epoch || epoch > end / per_epoch) return false;
      return epoch * per_epoch + batch >= part.from && epoch * per_epoch + batch < end;
    };
    const auto due = end - std::min(part.from, end);
    const auto came = static_cast<std::uint64_t>(std::ranges::count_if(part.trained_at, was_due));
    if (came == due) return;
    std::uint64_t step = part.from;
    while (part.trained_at.contains({step / per_epoch, step % per_epoch})) ++step;
    fault(Check::batches, std::nullopt, fmt::format("batch {} of epoch {}{} was never trained", step % per_epoch, step / per_epoch,
                                                    due - came > 1 ? fmt::format(", like {} others,", due - came - 1) : std::string()));
  }

  void check_the_end() {
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      if (parts_[i].plan) check_all_came(parts_[i], i + 1 < parts_.size() ? std::min(parts_[i + 1].from, next_step_) : next_step_);
    }
    std::string more;
    if (metrics_ && std::getline(metrics_, more)) fault(Check::metrics, std::nullopt, "metrics.jsonl has more lines than the ledger has steps");
    // Between an entry and its line a process can be killed; and a run that went on cut its lines back, and has not computed again what the ledger still holds.
    const auto steps = summary_number("steps");
    const bool may_be_behind = !summary_ || (summary_text("status") != "finished" && steps && missing_line_ >= *steps);
    if (missing_line_ && !may_be_behind) fault(Check::metrics, missing_line_, "metrics.jsonl ends before it");
    if (summary_) check_summary();
  }

  void check_summary() {
    const auto compare = [this](const char* key, std::uint64_t due) {
      const auto found = summary_number(key);
      if (!found) fault(Check::summary, std::nullopt, fmt::format("summary.json has no number {}", key));
      else if (*found != due) fault(Check::summary, std::nullopt, fmt::format("summary.json says {} {}, and the ledger {}", key, *found, due));
    };
    const auto steps = summary_number("steps");
    const bool may_have_more = summary_text("status") != "finished" && steps && *steps < next_step_;
    if (!may_have_more) compare("steps", next_step_);
    compare("num_tokens", counted_tokens_);
    compare("num_prompts", counted_prompts_);
    const auto digest = summary_text("ledger_digest");
    // A run that was never ready to begin has none.
    if (const auto due = to_hex(counted_digest_); digest != due && (next_step_ > 0 || !digest.empty())) {
      fault(Check::summary, std::nullopt, fmt::format("summary.json says ledger_digest {}, and the ledger {}", digest.empty() ? "nothing" : printable(digest, 64), due));
    }
    if (summary_text("status") == "finished" && !parts_.empty() && parts_.back().plan && parts_.back().plan->total_steps() != next_step_) {
      fault(Check::summary, std::nullopt, fmt::format("the run has finished after {} steps, and the recipe has {}", next_step_, parts_.back().plan->total_steps()));
    }
  }

  const fs::path run_;
  AuditReport report_;
  std::vector<AuditedPart> parts_;  // by `from`; empty: no recipe can be read
  std::optional<json::object> summary_;
  std::ifstream metrics_;
  std::optional<std::uint64_t> missing_line_;
  std::uint64_t next_step_ = 0, counted_tokens_ = 0, counted_prompts_ = 0;
  // The chain as it was written, as it should be, and as it should be behind the last step that counts.
  Sha256Digest stored_digest_ = empty_ledger_digest(), digest_ = empty_ledger_digest(), counted_digest_ = empty_ledger_digest();
};

}  // namespace

std::uint64_t AuditReport::faults() const {
  return std::accumulate(checks.begin(), checks.end(), std::uint64_t{0}, [](std::uint64_t n, const AuditCheck& check) { return n + check.faults; });
}

Result<AuditReport> audit_run(const fs::path& run) { return Audit(run)(); }

}  // namespace pipestill
