#include "nodes/init_teacher.hpp"

#include <utility>

#include "nodes/await.hpp"
#include "nodes/capability_check.hpp"
#include "nodes/describe.hpp"
#include "nodes/model_path.hpp"

namespace pipestill {

TeacherSession::TeacherSession(std::shared_ptr<SamplingClient> client, const Recipe& recipe, std::size_t number, std::shared_ptr<Clock> clock)
    : client_(std::move(client)),
      recipe_(recipe),
      teacher_(recipe.teachers().opened.at(number)),
      suffix_(number == 0 ? "" : "." + std::to_string(number)),
      clock_(std::move(clock)) {}

Description TeacherSession::describe() { return describe_init_teacher(); }

Result<void> TeacherSession::open(std::stop_token stop) {
  if (auto able = check_teacher(recipe_, teacher_, client_->capabilities()); !able) return able;
  const auto model = teacher_model(recipe_, teacher_);
  auto opened = await<std::unique_ptr<SamplingSession>>(*clock_, [&](auto done) { client_->start_session(model, stop, std::move(done)); });
  if (!opened) return fail(std::move(opened.error()));
  if (!*opened) return fail(ErrorCode::internal, "the teacher's client opened no session and gave no reason");
  // What is opened may be able to do less than its client. It is closed here, for a session that failed to open is not closed by its owner.
  if (auto able = check_teacher(recipe_, teacher_, (*opened)->capabilities()); !able) {
    if (auto closed = (*opened)->close(); !closed) able.error().message += "; and it did not close: " + closed.error().message;
    return able;
  }
  session_ = *std::move(opened);
  return {};
}

Result<void> TeacherSession::close() {
  if (!session_) return {};
  return std::exchange(session_, nullptr)->close();
}

}  // namespace pipestill
