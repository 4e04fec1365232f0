#include "app/run_table.hpp"

#include <chrono>

#include <spdlog/fmt/fmt.h>

namespace pipestill::app {
namespace {

double seconds(std::chrono::nanoseconds t) { return std::chrono::duration<double>(t).count(); }
double milliseconds(std::chrono::nanoseconds t) { return seconds(t) * 1e3; }

std::string evaluation_lines(const RunSummary& summary) {
  std::string text;
  const auto& any = summary.eval_after ? summary.eval_after : summary.eval_before;
  if (!any) return text;
  for (const auto& [name, value] : any->metrics) {
    const auto shown = [&](const std::optional<EvaluationResult>& result) {
      return result && result->metrics.contains(name) ? fmt::format("{:5.1f} %", 100 * result->metrics.at(name)) : std::string("      -");
    };
    text += fmt::format("{:<20}{} before, {} after ({} held-out rows)\n", name, shown(summary.eval_before), shown(summary.eval_after), any->rows);
  }
  return text;
}

}  // namespace

std::string to_table(const RunSummary& summary) {
  std::string text = evaluation_lines(summary);
  const auto& totals = summary.totals;
  text += fmt::format("{:<20}{}, {} steps, {} prompts, {} tokens\n", "run", name_of(summary.status), totals.steps, totals.num_prompts, totals.num_tokens);
  if (totals.dropped.total() > 0) {
    text += fmt::format("{:<20}", "rows dropped");
    for (std::size_t i = 0; i < kDropReasonNames.size(); ++i) {
      if (totals.dropped.by_reason[i] > 0) text += fmt::format("{} {}  ", totals.dropped.by_reason[i], kDropReasonNames[i]);
    }
    text += "\n";
  }
  text += fmt::format("{:<20}{:.1f} s wall, {:.1f} s CPU, {:.0f} tokens/s\n", "time", summary.wall_s, summary.cpu_s, summary.tokens_per_s());
  const auto model = [&](const std::string& role, const std::optional<ModelUsage>& usage) {
    if (usage) text += fmt::format("{:<20}computed {:.1f} s ({:.0f} % of the time), {} tokens\n", role, seconds(usage->compute), summary.wall_s > 0 ? 100 * seconds(usage->compute) / summary.wall_s : 0.0, usage->tokens);
  };
  for (std::size_t i = 0; i < summary.teachers.size(); ++i) model("teacher" + (i == 0 ? "" : "." + std::to_string(i)), summary.teachers[i]);
  model("student", summary.student);
  if (const auto limit = summary.bottleneck()) text += fmt::format("{:<20}{}\n", "limited by", *limit);
  if (summary.overlap_busy) text += fmt::format("{:<20}the busier model worked {:.1f} % of the training time\n", "overlap", 100 * *summary.overlap_busy);
  if (!summary.stages.empty()) {
    text += fmt::format("\n{:<20}{:>9}{:>10}{:>12}{:>12}{:>12}{:>11}{:>11}\n", "stage", "batches", "busy s", "order wait", "vers. wait", "limit wait", "p50 ms", "p99 ms");
    for (const auto& s : summary.stages) {
      text += fmt::format("{:<20}{:>9}{:>10.2f}{:>12.2f}{:>12.2f}{:>12.2f}{:>11.3f}{:>11.3f}\n", s.name, s.messages, seconds(s.busy), seconds(s.order_wait), seconds(s.version_wait),
                          seconds(s.limit_wait), milliseconds(s.p50), milliseconds(s.p99));
    }
  }
  if (summary.weights_digest) text += fmt::format("\n{:<20}{}\n", "weights_digest", *summary.weights_digest);
  if (summary.ledger_digest) text += fmt::format("{:<20}{}\n", "ledger_digest", *summary.ledger_digest);
  return text;
}

}  // namespace pipestill::app
