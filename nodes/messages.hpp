#pragma once
// PromptBatch -> SampledBatch -> DatumBatch -> StepResult: what travels from stage to stage. A row carries all that is its own;
// there are no lists that run beside the rows.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/base/clock.hpp"
#include "ports/renderer/tools.hpp"
#include "ports/sampling/sampling_client.hpp"
#include "ports/sha256.hpp"
#include "ports/training/training_client.hpp"
#include "ports/types.hpp"

namespace pipestill {

/// Where a batch stands in the run; all count from 0.
struct Position {
  std::uint64_t epoch = 0;
  std::uint64_t batch = 0;  ///< in its epoch
  std::uint64_t step = 0;   ///< in the run
  bool operator==(const Position&) const = default;
};

/// Why a row does not train the student.
enum class DropReason {
  bad,        ///< the dataset's row cannot be used
  error,      ///< the request for its answer, or for the answer's score, failed
  empty,      ///< the answer says nothing
  truncated,  ///< the answer was cut off at max_tokens
  untrained,  ///< cut to max_length, no trained token is left
};
inline constexpr std::array<std::string_view, 5> kDropReasonNames{"bad", "error", "empty", "truncated", "untrained"};

/// Rows dropped, by reason.
struct DropCounts {
  std::array<std::uint64_t, kDropReasonNames.size()> by_reason = {};

  std::uint64_t& operator[](DropReason reason) { return by_reason[static_cast<std::size_t>(reason)]; }
  std::uint64_t operator[](DropReason reason) const { return by_reason[static_cast<std::size_t>(reason)]; }
  DropCounts& operator+=(const DropCounts& other) {
    std::ranges::transform(by_reason, other.by_reason, by_reason.begin(), std::plus<>());
    return *this;
  }
  [[nodiscard]] std::uint64_t total() const { return std::accumulate(by_reason.begin(), by_reason.end(), std::uint64_t{0}); }
  bool operator==(const DropCounts&) const = default;
};

/// One row of the dataset on its way through the run.
struct Row {
  std::uint64_t index = 0;    ///< in the dataset, from 0
  std::uint64_t dataset = 0;  ///< in a mix, from 0
  std::uint64_t epoch = 0;    ///< the pass through its dataset in which it comes, from 0
  std::string where = {};   ///< for error texts, e.g. "train.jsonl:17"
  std::vector<Message> conversation = {};
  std::vector<ToolSpec> tools = {};  ///< that the conversation declares to the model
  std::string teacher = {};                          ///< the model that is asked; empty: none, or one without a name
  std::string renderer = {};                         ///< that turns the conversation into tokens
  std::uint64_t seed = 0;                            ///< the only source of randomness of its sampled answer
  std::optional<DropReason> dropped = std::nullopt;  ///< empty: it is to train the student
  std::string why_bad = {};                          ///< of a row dropped as bad: in a sentence
  std::optional<Sha256Digest> content = std::nullopt;  ///< conversation_digest() of what the dataset says; empty: it could not be read
  std::uint64_t num_tokens = 0;                        ///< that it trains, once that is known
  bool operator==(const Row&) const = default;
};

/// A student that a batch may be sampled with. Empty before a run.
struct StudentVersion {
  std::shared_ptr<SamplingSession> sampler;
};

/// What a batch took of its teachers. Only observed.
struct TeacherCost {
  std::chrono::nanoseconds latency{};  ///< from the first request to the last answer
  std::uint64_t attempts = 0;          ///< requests that a backend was sent, repeated ones included; a kept answer needs none
  std::uint64_t tokens_paid = 0;       ///< of the requests that were answered, and of their answers, where they were not kept ones
};

struct PromptBatch {
  Position at;
  std::vector<Row> rows = {};
};

struct SampledRow {
  Row row;
  ModelInput prompt = {};                    ///< as it was sampled from
  SampledSequence answer = {};               ///< the teacher's; on_policy: the student's
  std::vector<float> teacher_logprobs = {};  ///< on_policy: of the answer's tokens, all there
  std::uint64_t attempts = 0, tokens_paid = 0;  ///< as TeacherCost sums them up
};

struct SampledBatch {
  Position at;
  std::vector<SampledRow> rows = {};
  std::optional<std::uint64_t> student_version = std::nullopt;  ///< that sampled it; empty: no student did
  TeacherCost teacher_cost = {};
};

struct DatumRow {
  Row row;
  std::optional<Datum> datum = std::nullopt;  ///< empty if the row was dropped
};

struct DatumBatch {
  Position at;
  std::vector<DatumRow> rows = {};
  std::uint64_t num_tokens = 0;  ///< positions with non-zero weight
  std::string datum_digest = {};
  std::optional<std::uint64_t> student_version = std::nullopt;
  TeacherCost teacher_cost = {};
};

/// The student after a step, and what else a run needs that goes on from there.
struct CapturedStudent {
  std::shared_ptr<const TrainingState> state;
  /// By version, the older ones that batches behind the step are sampled with.
  std::map<std::uint64_t, std::shared_ptr<SamplingSession>> versions = {};
};

struct StepResult {
  Position at;
  std::vector<Row> rows = {};
  DropCounts dropped = {};
  bool has_trained = false;  ///< false: no row was left, and no optimizer step was made
  std::optional<double> distill_loss = std::nullopt,
                        grad_norm = std::nullopt;  ///< empty where the trainer does not say, or nothing was trained
  double learning_rate = 0;
  std::uint64_t num_tokens = 0;
  std::string datum_digest = {};
  std::optional<std::uint64_t> student_version = std::nullopt;
  TeacherCost teacher_cost = {};
  Clock::Time train_begin{}, train_end{};
  std::shared_ptr<SamplingSession> snapshot = nullptr;  ///< the student after this step, where an evaluation is due
  std::shared_ptr<const CapturedStudent> captured = nullptr;  ///< where a checkpoint is due
};

}  // namespace pipestill
