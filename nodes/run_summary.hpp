#pragma once
// RunSummary: what a run came to, as summary.json tells it.
#include <boost/json/object.hpp>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/engine.hpp"
#include "nodes/evaluator.hpp"
#include "nodes/messages.hpp"
#include "nodes/metrics_sink.hpp"

namespace pipestill {

struct RunSummary {
  using Status = graph::RunReport::Status;
  using Failure = graph::RunReport::Failure;

  Status status = Status::finished;
  std::optional<std::uint64_t> resumed_at = std::nullopt;  ///< the step at which this process took the run up; empty: it began it
  RunTotals totals = {};                                     ///< of the whole run, its parts in other processes included
  std::uint64_t tokens_before = 0;                           ///< of totals.num_tokens, those of other processes
  double wall_s = 0;                                         ///< from the source's start to the end of the drain
  double cpu_s = 0;                                          ///< of the whole process, over the same time
  std::optional<std::string> weights_digest = std::nullopt;  ///< of the student at the end; empty if the run failed
  std::optional<std::string> ledger_digest = std::nullopt;   ///< the cumulative one behind the last step; empty without a ledger, and of a run that never began
  std::map<std::string, std::string> identity = {};          ///< what equal bytes depend on beside the recipe: CPU, compiler, libraries, the datasets' fingerprints
  std::vector<std::string> nondeterminism = {};              ///< why another run may end in other bytes; empty: it will not
  std::optional<EvaluationResult> eval_before = std::nullopt, eval_after = std::nullopt;
  std::vector<graph::StageReport> stages = {};
  std::vector<ModelUsage> teachers = {};                                     ///< as in Recipe::teachers(), from the source's start to the end of the drain
  std::optional<ModelUsage> student = std::nullopt;                          ///< over the same time
  std::optional<double> overlap_busy = std::nullopt;                         ///< see OverlapMeter
  std::optional<Failure> failure = std::nullopt;                             ///< why it failed, or would have begun to
  std::vector<Failure> close_failures = {};                                  ///< sessions that did not close cleanly

  [[nodiscard]] double tokens_per_s() const { return wall_s > 0 ? static_cast<double>(totals.num_tokens - tokens_before) / wall_s : 0; }
  /// The stage that had a batch in service for the largest share of the run; empty if none had.
  [[nodiscard]] std::optional<std::string> bottleneck() const;
  /// The keys of summary.json. What is not known is null.
  [[nodiscard]] boost::json::object to_json() const;
};

/// Of this machine and build, as far as the library knows: `cpu`, `cpu_flags`, `compiler`, `boost`, `libc`, `pipestill`.
[[nodiscard]] std::map<std::string, std::string> machine_identity();
/// Processor time that the process has used, in seconds.
[[nodiscard]] double process_cpu_seconds();

[[nodiscard]] std::string_view name_of(RunSummary::Status status);
[[nodiscard]] std::string_view name_of(ErrorCode code);

}  // namespace pipestill
