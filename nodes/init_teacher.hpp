#pragma once
// init_teacher / cleanup_teacher: the teacher's session, opened before the source starts and closed after the drain.
#include <cstddef>
#include <memory>
#include <string>

#include "graph/base/clock.hpp"
#include "graph/base/description.hpp"
#include "graph/session.hpp"
#include "nodes/recipe.hpp"
#include "ports/sampling/sampling_client.hpp"

namespace pipestill {

/// Opens a `teacher.teacher_model` with the weights of its `teacher.teacher_checkpoint_path`, checks what it can do against the recipe, and
/// closes it. If it dies open, the session's destructor closes it. One thread at a time.
class TeacherSession final : public graph::Session {
 public:
  /// `number`: of the teacher in Recipe::teachers().opened. From the second on it stands in the names, as in "init_teacher.1".
  TeacherSession(std::shared_ptr<SamplingClient> client, const Recipe& recipe, std::size_t number, std::shared_ptr<Clock> clock);
  static Description describe();

  [[nodiscard]] Result<void> open(std::stop_token stop) override;
  [[nodiscard]] Result<void> close() override;
  [[nodiscard]] std::string open_name() const override { return "init_teacher" + suffix_; }
  [[nodiscard]] std::string close_name() const override { return "cleanup_teacher" + suffix_; }

  /// Null unless open.
  [[nodiscard]] const std::shared_ptr<SamplingSession>& session() const { return session_; }

 private:
  std::shared_ptr<SamplingClient> client_;
  Recipe recipe_;
  Recipe::Teacher teacher_;
  std::string suffix_;
  std::shared_ptr<Clock> clock_;
  std::shared_ptr<SamplingSession> session_;
};

}  // namespace pipestill
