#pragma once
// Session: what a run opens before its source starts and closes after its drain.
#include <memory>
#include <stop_token>
#include <string>

#include "graph/base/error.hpp"

namespace pipestill::graph {

/// The engine calls open() once before the source and close() once after every batch has retired, whatever happened in
/// between; in the order of the flow's `with`, and closes in reverse. A session that failed to open is not closed.
/// Both may block; both run on the thread that called run().
class Session {
 public:
  virtual ~Session() = default;
  [[nodiscard]] virtual Result<void> open(std::stop_token stop) = 0;
  [[nodiscard]] virtual Result<void> close() = 0;
  [[nodiscard]] virtual std::string open_name() const = 0;   ///< as a stage name in reports, e.g. "init_teacher"
  [[nodiscard]] virtual std::string close_name() const = 0;  ///< e.g. "cleanup_teacher"
};

}  // namespace pipestill::graph
