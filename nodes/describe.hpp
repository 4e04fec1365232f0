#pragma once
// What the stages say about themselves. A stage's own describe() returns what stands here, so that the recipe can be checked without a
// stage.
#include <vector>

#include "graph/base/description.hpp"
#include "nodes/recipe.hpp"

namespace pipestill {

[[nodiscard]] Description describe_init_teacher();
[[nodiscard]] Description describe_batch_source();
[[nodiscard]] Description describe_student_inference();  ///< on_policy: the student's own answers
[[nodiscard]] Description describe_teacher_inference();
[[nodiscard]] Description describe_datum_builder();
[[nodiscard]] Description describe_forward_backward(Method method = Method::off_policy);  ///< the default loss depends on the method
[[nodiscard]] Description describe_evaluation();
[[nodiscard]] Description describe_checkpoint();
[[nodiscard]] Description describe_metrics_sink();

/// The stages of a run with this method, in the order of its flow.
[[nodiscard]] std::vector<Description> describe_stages(Method method);

/// Keys that belong to no stage: of the run as a whole, and of the student that several stages share.
[[nodiscard]] Description describe_run();
[[nodiscard]] Description describe_student();

}  // namespace pipestill
