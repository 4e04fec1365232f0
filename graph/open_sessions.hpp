#pragma once
// OpenSessions: opens one session after the other, and closes them in reverse, each once.
#include <memory>
#include <optional>
#include <stop_token>
#include <vector>

#include "graph/base/clock.hpp"
#include "graph/engine.hpp"
#include "graph/session.hpp"
#include "graph/trace.hpp"

namespace pipestill::graph {

/// What run() does with a flow's sessions, for a program that has something to do between its runs and the closing. One thread at a time.
class OpenSessions {
 public:
  /// `trace` may be null; both outlive this.
  OpenSessions(Clock& clock, Trace* trace) : clock_(clock), trace_(trace) {}
  ~OpenSessions() { (void)close(); }  ///< the safety net: it reports nothing
  OpenSessions(const OpenSessions&) = delete;
  OpenSessions& operator=(const OpenSessions&) = delete;

  /// A session that fails to open is not kept, and not closed.
  [[nodiscard]] std::optional<RunReport::Failure> open(std::shared_ptr<Session> session, const std::stop_token& stop);
  /// Closes all, also when one of them fails. A second call finds nothing to do.
  [[nodiscard]] std::vector<RunReport::Failure> close();

 private:
  Clock& clock_;
  Trace* trace_;
  std::vector<std::shared_ptr<Session>> sessions_;
};

}  // namespace pipestill::graph
