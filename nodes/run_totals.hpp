#pragma once
// RunTotals: what the batches of a run come to.
#include <cstdint>

#include "nodes/messages.hpp"

namespace pipestill {

/// A run's sums over its completed batches.
struct RunTotals {
  std::uint64_t steps = 0;        ///< batches
  std::uint64_t optim_steps = 0;  ///< of them, those that trained
  std::uint64_t num_prompts = 0, num_tokens = 0;
  DropCounts dropped = {};
};

}  // namespace pipestill
