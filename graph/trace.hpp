#pragma once
// Trace: where the engine says what it does, stage by stage.
#include <string_view>

#include "graph/base/clock.hpp"
#include "graph/base/error.hpp"
#include "graph/message.hpp"

namespace pipestill::graph {

/// One batch in one stage, on the run's clock. arrived <= in_order <= admissible <= started <= ended.
struct StageSpan {
  std::string_view stage;
  Seq seq;
  Clock::Time arrived{};     ///< left the stage before
  Clock::Time in_order{};    ///< its predecessors had arrived too (equal to arrived where any order will do)
  Clock::Time admissible{};  ///< its version of the student was there too (equal to in_order where none is read)
  Clock::Time started{};     ///< a place was free
  Clock::Time ended{};
};

/// Called by many threads at once; neither throws nor blocks. Tombstones are not reported.
class Trace {
 public:
  virtual ~Trace() = default;
  virtual void started(std::string_view stage, Seq seq, Clock::Time at) noexcept = 0;
  virtual void ended(const StageSpan& span) noexcept = 0;
  /// Instead of ended().
  virtual void failed(const StageSpan& span, const Error& error) noexcept = 0;
};

}  // namespace pipestill::graph
