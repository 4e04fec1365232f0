#include "nodes/run_diff.hpp"

#include <boost/json/serialize.hpp>
#include <fstream>

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

std::optional<RunDifference> first_difference(std::uint64_t step, const json::object& a, const json::object& b) {
  for (const auto& [key, value] : a) {
    if (const auto* other = b.if_contains(key); !other || *other != value) return RunDifference{step, std::string(key), json::serialize(value), text_of(b, key)};
  }
  for (const auto& [key, value] : b) {
    if (!a.contains(key)) return RunDifference{step, std::string(key), kNothing, json::serialize(value)};
  }
  return std::nullopt;
}

Result<std::string> weights_digest(const fs::path& run) {
  const auto path = run / "summary.json";
  auto text = read_text_file(path);
  if (!text) return fail(ErrorCode::invalid_input, "cannot read " + path.string() + ": the run has not ended, or this is no run directory");
  auto summary = parse_strict_json(*text, path.string());
  if (!summary) return fail(std::move(summary.error()));
  const auto* object = summary->if_object();
  if (!object) return fail(ErrorCode::invalid_input, path.string() + " is not a summary: it should hold one JSON object");
  return text_of(*object, "weights_digest");
}

}  // namespace

Result<RunComparison> compare_runs(const fs::path& run_a, const fs::path& run_b) {
  StepReader a(run_a), b(run_b);
  for (const auto* reader : {&a, &b}) {
    if (auto ok = reader->check(); !ok) return fail(std::move(ok.error()));
  }
  RunComparison comparison;
  for (;; ++comparison.steps) {
    auto step_a = a.next();
    if (!step_a) return fail(std::move(step_a.error()));
    auto step_b = b.next();
    if (!step_b) return fail(std::move(step_b.error()));
    if (!*step_a && !*step_b) break;
    const auto text = [](const std::optional<json::object>& step) { return step ? text_of(*step, "step") : std::string(kNothing); };
    if (!*step_a || !*step_b) {
      comparison.difference = RunDifference{comparison.steps, "step", text(*step_a), text(*step_b)};
      return comparison;
    }
    comparison.difference = first_difference(comparison.steps, **step_a, **step_b);
    if (comparison.difference) return comparison;
  }
  auto digest_a = weights_digest(run_a);
  if (!digest_a) return fail(std::move(digest_a.error()));
  auto digest_b = weights_digest(run_b);
  if (!digest_b) return fail(std::move(digest_b.error()));
  comparison.has_weights = *digest_a != "null";
  if (*digest_a != *digest_b) comparison.difference = RunDifference{std::nullopt, "weights_digest", *digest_a, *digest_b};
  return comparison;
}

}  // namespace pipestill
