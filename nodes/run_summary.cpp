#include "nodes/run_summary.hpp"

#include <gnu/libc-version.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/version.hpp>
#include <ctime>
#include <fstream>
#include <utility>

#include "nodes/json_values.hpp"

namespace pipestill {
namespace {

namespace json = boost::json;

double seconds(std::chrono::nanoseconds time) { return static_cast<double>(time.count()) / 1e9; }
json::object json_of(const graph::StageReport& stage) {
  return {{"messages", stage.messages},
          {"busy_s", seconds(stage.busy)},
          {"order_wait_s", seconds(stage.order_wait)},
          {"version_wait_s", seconds(stage.version_wait)},
          {"limit_wait_s", seconds(stage.limit_wait)},
          {"p50_ms", milliseconds(stage.p50)},
          {"p99_ms", milliseconds(stage.p99)}};
}

json::object json_of(const RunSummary::Failure& failure) {
  return {{"stage", failure.stage},
          {"seq", failure.seq ? json::value(failure.seq->value) : json::value(nullptr)},
          {"code", name_of(failure.error.code)},
          {"message", failure.error.message}};
}

json::value json_of(const std::optional<EvaluationResult>& result) {
  if (!result) return nullptr;
  json::object metrics;
  for (const auto& [name, value] : result->metrics) metrics[name] = value;
  return metrics;
}

json::value json_of(const std::optional<ModelUsage>& usage) {
  if (!usage) return nullptr;
  return json::object{{"compute_s", seconds(usage->compute)}, {"tokens", usage->tokens}};
}

/// The value of the first line "key : value" of /proc/cpuinfo.
std::string cpu_info(std::string_view key) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const auto colon = line.find(": ");
    if (line.starts_with(key) && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

}  // namespace

std::string_view name_of(RunSummary::Status status) {
  switch (status) {
    case RunSummary::Status::finished:
      return "finished";
    case RunSummary::Status::stopped:
      return "stopped";
    case RunSummary::Status::failed:
      return "failed";
  }
  return "?";
}

std::string_view name_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_input:
      return "invalid_input";
    case ErrorCode::not_recorded:
      return "not_recorded";
    case ErrorCode::backend_failed:
      return "backend_failed";
    case ErrorCode::storage_failed:
      return "storage_failed";
    case ErrorCode::cancelled:
      return "cancelled";
    case ErrorCode::internal:
      return "internal";
  }
  return "?";
}

std::map<std::string, std::string> machine_identity() {
  return {{"cpu", cpu_info("model name")}, {"cpu_flags", cpu_info("flags")}, {"compiler", __VERSION__},
          {"boost", BOOST_LIB_VERSION},    {"libc", gnu_get_libc_version()}, {"pipestill", PIPESTILL_VERSION}};
}

double process_cpu_seconds() {
  std::timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

std::optional<std::string> RunSummary::bottleneck() const {
  const auto busiest = std::ranges::max_element(stages, {}, &graph::StageReport::busy);
  if (busiest == stages.end() || busiest->busy.count() == 0) return std::nullopt;
  return busiest->name;
}

json::object RunSummary::to_json() const {
  json::object by_stage, dropped, machine;
  for (const auto& stage : stages) by_stage[stage.name] = json_of(stage);
  for (std::size_t i = 0; i < kDropReasonNames.size(); ++i) dropped[kDropReasonNames[i]] = totals.dropped.by_reason[i];
  for (const auto& [key, value] : identity) machine[key] = value;
  json::object models{{"teacher", teachers.empty() ? json::value(nullptr) : json::value(json_of(teachers[0]))}};
  for (std::size_t i = 1; i < teachers.size(); ++i) models["teacher." + std::to_string(i)] = json_of(teachers[i]);
  models["student"] = json_of(student);
  json::array unclosed;
  for (const auto& close_failure : close_failures) unclosed.push_back(json_of(close_failure));
  return {{"status", name_of(status)},
          {"resumed_at", or_null(resumed_at)},
          {"steps", totals.steps},
          {"optim_steps", totals.optim_steps},
          {"num_prompts", totals.num_prompts},
          {"num_tokens", totals.num_tokens},
          {"dropped", std::move(dropped)},
          {"wall_s", wall_s},
          {"cpu_s", cpu_s},
          {"tokens_per_s", tokens_per_s()},
          {"weights_digest", or_null(weights_digest)},
          {"ledger_digest", or_null(ledger_digest)},
          {"deterministic", nondeterminism.empty()},
          {"reasons", json::array(nondeterminism.begin(), nondeterminism.end())},
          {"eval", {{"before", json_of(eval_before)}, {"after", json_of(eval_after)}}},
          {"stages", std::move(by_stage)},
          {"models", std::move(models)},
          {"overlap", {{"busy", or_null(overlap_busy)}}},
          {"bottleneck", or_null(bottleneck())},
          {"failure", failure ? json::value(json_of(*failure)) : json::value(nullptr)},
          {"close_failures", std::move(unclosed)},
          {"identity", std::move(machine)}};
}

}  // namespace pipestill
