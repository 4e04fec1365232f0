#pragma once
// init_student / cleanup_student: the student's session, opened before the source starts and closed after the drain.
#include <memory>

#include "graph/base/clock.hpp"
#include "graph/base/description.hpp"
#include "graph/session.hpp"
#include "nodes/recipe.hpp"
#include "ports/training/training_client.hpp"

namespace pipestill {

/// Opens `student.model`, with random weights drawn from the run's seed where it has none, checks what it can do against the recipe, and
/// closes it. If it dies open, the session's destructor closes it. One thread at a time.
class StudentSession final : public graph::Session {
 public:
  StudentSession(std::shared_ptr<TrainingClient> client, const Recipe& recipe, std::shared_ptr<Clock> clock);
  static Description describe();

  [[nodiscard]] Result<void> open(std::stop_token stop) override;
  [[nodiscard]] Result<void> close() override;
  [[nodiscard]] std::string open_name() const override { return "init_student"; }
  [[nodiscard]] std::string close_name() const override { return "cleanup_student"; }

  /// Null unless open.
  [[nodiscard]] const std::shared_ptr<TrainingSession>& session() const { return session_; }

 private:
  std::shared_ptr<TrainingClient> client_;
  Recipe recipe_;
  std::shared_ptr<Clock> clock_;
  std::shared_ptr<TrainingSession> session_;
};

}  // namespace pipestill
