#pragma once
// The short table at the end of a run.
#include <string>

#include "nodes/run_summary.hpp"

namespace pipestill::app {

[[nodiscard]] std::string to_table(const RunSummary& summary);

}  // namespace pipestill::app
