#include "nodes/run_diff.hpp"

#include <boost/json/serialize.hpp>
#include <fstream>
#include <system_error>
#include <utility>

#include "ports/checkpoint/ledger.hpp"
#include "ports/strict_json.hpp"
#include "ports/text_file.hpp"

namespace fs = std::filesystem;
namespace json = boost::json;

namespace pipestill {
namespace {

constexpr const char* kNothing = "nothing";

/// One line after the other of a metrics.jsonl, without what was only observed.
class StepReader {
 public:
  explicit StepReader(const fs::path& run) : path_(run / "metrics.jsonl"), file_(path_) {}

  [[nodiscard]] Result<void> check() const {
    if (file_) return {};
    return fail(ErrorCode::invalid_input, "cannot read " + path_.string() + ": name a run directory, as `pipestill run --out` makes it");
  }
  Result<std::optional<json::object>> next() {
    std::string line;
    if (!std::getline(file_, line)) return std::nullopt;
    ++line_;
    auto value = parse_strict_json(line, path_.string() + ": step on line " + std::to_string(line_));
    if (!value) return fail(std::move(value.error()));
    auto* step = value->if_object();
    if (!step || !step->contains("step")) return fail(ErrorCode::invalid_input, path_.string() + ": line " + std::to_string(line_) + " is not a step: the file is damaged");
    step->erase("observed");
    return std::move(*step);
  }

 private:
  fs::path path_;
  std::ifstream file_;
  std::uint64_t line_ = 0;
};

std::string text_of(const json::object& object, json::string_view key) {
  const auto* value = object.if_contains(key);
  return value ? json::serialize(*value) : kNothing;
}

std::optional<RunDifference> difference_of(std::uint64_t step, const json::object& a, const json::object& b) {
  for (const auto& [key, value] : a) {
    if (const auto* other = b.if_contains(key); !other || *other != value) return RunDifference{step, std::string(key), json::serialize(value), text_of(b, key)};
  }
  for (const auto& [key, value] : b) {
    if (!a.contains(key)) return RunDifference{step, std::string(key), kNothing, json::serialize(value)};
  }
  return std::nullopt;
}

Result<json::object> read_summary(const fs::path& run) {
  const auto path = run / "summary.json";
  auto text = read_text_file(path);
  if (!text) return fail(ErrorCode::invalid_input, "cannot read " + path.string() + ": the run has not ended, or this is no run directory");
  auto summary = parse_strict_json(*text, path.string());
  if (!summary) return fail(std::move(summary.error()));
  auto* object = summary->if_object();
  if (!object) return fail(ErrorCode::invalid_input, path.string() + " is not a summary: it should hold one JSON object");
  return std::move(*object);
}

/// The steps of a run, one after the other, as its ledger tells them: up to the cut, behind which there may be entries that only stand as
/// expectations.
class EntryReader {
 public:
  static Result<EntryReader> open(const fs::path& run, const json::object& summary) {
    auto reader = LedgerReader::open(run / "run.sqlite");
    if (!reader) return fail(std::move(reader.error()));
    const auto* steps = summary.if_contains("steps");
    json::error_code error;
    const auto end = steps ? steps->to_number<std::uint64_t>(error) : 0;
    if (!steps || error) return fail(ErrorCode::invalid_input, (run / "summary.json").string() + " has no number of steps");
    return EntryReader(*std::move(reader), end);
  }
  Result<std::optional<LedgerEntry>> next() {
    auto record = reader_.next();
    if (!record) return fail(std::move(record.error()));
    if (!*record || (*record)->entry.step >= end_) return std::nullopt;
    return std::move((*record)->entry);
  }

 private:
  EntryReader(LedgerReader reader, std::uint64_t end) : reader_(std::move(reader)), end_(end) {}
  LedgerReader reader_;
  std::uint64_t end_;
};

std::optional<RunDifference> difference_of(std::uint64_t step, const LedgerEntry& a, const LedgerEntry& b) {
  const auto found = first_difference(a, b);
  return found ? std::optional(RunDifference{step, found->field, found->a, found->b}) : std::nullopt;
}
std::string step_of(const json::object& step) { return text_of(step, "step"); }
std::string step_of(const LedgerEntry& entry) { return std::to_string(entry.step); }

/// Both readers give one step after the other.
template <class Reader>
Result<void> compare_steps(Reader& a, Reader& b, RunComparison& comparison) {
  for (;; ++comparison.steps) {
    auto step_a = a.next();
    if (!step_a) return fail(std::move(step_a.error()));
    auto step_b = b.next();
    if (!step_b) return fail(std::move(step_b.error()));
    if (!*step_a && !*step_b) return {};
    const auto text = [](const auto& step) { return step ? step_of(*step) : std::string(kNothing); };
    if (!*step_a || !*step_b) {
      comparison.difference = RunDifference{comparison.steps, "step", text(*step_a), text(*step_b)};
    } else {
      comparison.difference = difference_of(comparison.steps, **step_a, **step_b);
    }
    if (comparison.difference) return {};
  }
}

Result<void> compare_ledgers(const fs::path& run_a, const fs::path& run_b, const json::object& summary_a, const json::object& summary_b, RunComparison& comparison) {
  auto a = EntryReader::open(run_a, summary_a);
  if (!a) return fail(std::move(a.error()));
  auto b = EntryReader::open(run_b, summary_b);
  if (!b) return fail(std::move(b.error()));
  return compare_steps(*a, *b, comparison);
}

Result<void> compare_metrics(const fs::path& run_a, const fs::path& run_b, RunComparison& comparison) {
  StepReader a(run_a), b(run_b);
  for (const auto* reader : {&a, &b}) {
    if (auto ok = reader->check(); !ok) return ok;
  }
  return compare_steps(a, b, comparison);
}

}  // namespace

Result<RunComparison> compare_runs(const fs::path& run_a, const fs::path& run_b) {
  std::error_code ignored;
  const auto has_ledger = [&](const fs::path& run) { return fs::exists(run / "run.sqlite", ignored); };
  const auto metrics_only = !has_ledger(run_a) || !has_ledger(run_b);
  RunComparison comparison;
  if (metrics_only) {
    if (auto compared = compare_metrics(run_a, run_b, comparison); !compared) return fail(std::move(compared.error()));
    if (comparison.difference) return comparison;
  }
  const auto summary_a = read_summary(run_a);
  if (!summary_a) return fail(summary_a.error());
  const auto summary_b = read_summary(run_b);
  if (!summary_b) return fail(summary_b.error());
  if (!metrics_only) {
    if (auto compared = compare_ledgers(run_a, run_b, *summary_a, *summary_b, comparison); !compared) return fail(std::move(compared.error()));
    if (comparison.difference) return comparison;
  }
  const auto digest_a = text_of(*summary_a, "weights_digest"), digest_b = text_of(*summary_b, "weights_digest");
  comparison.has_weights = digest_a != "null";
  if (digest_a != digest_b) comparison.difference = RunDifference{std::nullopt, "weights_digest", digest_a, digest_b};
  return comparison;
}

}  // namespace pipestill
