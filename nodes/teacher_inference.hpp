#pragma once
// teacher_inference: the teacher answers the prompts, or scores the student's answers.
#include <memory>
#include <vector>

#include "graph/base/clock.hpp"
#include "graph/base/description.hpp"
#include "graph/message.hpp"
#include "nodes/messages.hpp"
#include "nodes/request_queue.hpp"
#include "nodes/row_policies.hpp"
#include "ports/telemetry/telemetry.hpp"

namespace pipestill {

struct TeacherInferenceOptions {
  struct Dataset {
    RequestQueue queue;  ///< in front of its teacher, shared by all batches and by the datasets that ask the same one
    Asking asking;
  };
  std::vector<Dataset> datasets = {};  ///< by Row::dataset
  std::shared_ptr<Telemetry> telemetry;
  std::shared_ptr<Clock> clock;
};

/// An asynchronous stage for any order (graph/stage.hpp): one request a row. Dropped rows are not asked for. A row that the policies
/// do not forgive fails the batch, when all its requests have come back.
class TeacherInference {
 public:
  using Output = SampledBatch;
  explicit TeacherInference(TeacherInferenceOptions options)
      : options_(std::make_shared<const TeacherInferenceOptions>(std::move(options))) {}
  static Description describe();

  /// off_policy: renders the prompts and samples an answer for each.
  void operator()(PromptBatch batch, graph::Context& context, Completion<SampledBatch> done) const;
  /// on_policy: the teacher's log-probabilities of answers that the student gave.
  void operator()(SampledBatch batch, graph::Context& context, Completion<SampledBatch> done) const;

 private:
  std::shared_ptr<const TeacherInferenceOptions> options_;  // handlers keep it
};

}  // namespace pipestill
