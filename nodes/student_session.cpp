#include "nodes/student_session.hpp"

#include <utility>

#include "nodes/await.hpp"
#include "nodes/capability_check.hpp"
#include "nodes/describe.hpp"
#include "nodes/model_path.hpp"
#include "ports/dataset/seed_streams.hpp"

namespace pipestill {

StudentSession::StudentSession(std::shared_ptr<TrainingClient> client, const Recipe& recipe, std::shared_ptr<Clock> clock)
    : client_(std::move(client)), recipe_(recipe), clock_(std::move(clock)) {}

Description StudentSession::describe() { return describe_student(); }

Result<void> StudentSession::open(std::stop_token stop) {
  if (auto able = check_student(recipe_, client_->capabilities()); !able) return able;
  const auto model = student_model(recipe_);
  const auto init_seed = draw_seed(recipe_.seed, "student_init", 0, 0, 0, 0);
  auto opened =
      await<std::unique_ptr<TrainingSession>>(*clock_, [&](auto done) { client_->start_session(model, init_seed, stop, std::move(done)); });
  if (!opened) return fail(std::move(opened.error()));
  if (!*opened) return fail(ErrorCode::internal, "the student's client opened no session and gave no reason");
  // What is opened may be able to do less than its client. It is closed here, for a session that failed to open is not closed by its owner.
  if (auto able = check_student(recipe_, (*opened)->capabilities()); !able) {
    if (auto closed = (*opened)->close(); !closed) able.error().message += "; and it did not close: " + closed.error().message;
    return able;
  }
  session_ = *std::move(opened);
  return {};
}

Result<void> StudentSession::close() {
  if (!session_) return {};
  return std::exchange(session_, nullptr)->close();
}

}  // namespace pipestill
