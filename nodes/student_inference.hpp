#pragma once
// student_inference (on_policy): the student answers the prompts itself.
#include <memory>
#include <vector>

#include "graph/base/clock.hpp"
#include "graph/base/description.hpp"
#include "graph/feedback.hpp"
#include "graph/message.hpp"
#include "nodes/messages.hpp"
#include "nodes/row_policies.hpp"
#include "ports/sampling/stored_sampling_client.hpp"

namespace pipestill {

struct StudentInferenceOptions {
  graph::Feedback<StudentVersion> student;
  std::vector<Asking> datasets = {};  ///< by Row::dataset
  std::shared_ptr<Clock> clock;
  std::shared_ptr<const StudentSampleStore> samples = nullptr;  ///< of a student that does not repeat itself; null: nothing is kept
};

/// An asynchronous stage that reads the student (graph/stage.hpp): samples a batch with the version that it holds, one request a row.
/// A row that the policies do not forgive fails the batch; so does an answer with a missing log-probability, unless on_error drops it.
class StudentInference {
 public:
  using Output = SampledBatch;
  explicit StudentInference(StudentInferenceOptions options)
      : options_(std::make_shared<const StudentInferenceOptions>(std::move(options))) {}
  static Description describe();

  void operator()(PromptBatch batch, graph::Context& context, Completion<SampledBatch> done) const;

 private:
  std::shared_ptr<const StudentInferenceOptions> options_;  // handlers keep it
};

}  // namespace pipestill
