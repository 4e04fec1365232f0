#pragma once
// The recipe keys of a simulated model's latency.
#include <vector>

#include "graph/base/description.hpp"
#include "ports/simulated/latency.hpp"

namespace pipestill {

/// `latency.*` with these defaults.
[[nodiscard]] std::vector<KeyInfo> latency_keys(const LatencyOptions& defaults);

}  // namespace pipestill
