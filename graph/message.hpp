#pragma once
// What travels with a batch, whatever the batch is.
#include <compare>
#include <cstdint>
#include <memory>
#include <stop_token>

#include "graph/base/clock.hpp"

namespace pipestill::graph {

/// Position of a batch in the run, from 0 (or EngineOptions::first). The engine numbers what the source yields.
struct Seq {
  std::uint64_t value = 0;
  auto operator<=>(const Seq&) const = default;
};

/// How many batches the student that a batch is sampled with has trained on.
struct Version {
  std::uint64_t value = 0;
  auto operator<=>(const Version&) const = default;
};

/// The student that one batch may see: version max(0, seq - staleness), whatever the timing.
struct Lease {
  Version version;
  std::shared_ptr<const void> value = nullptr;  // read through Feedback<T>::of()
};

/// What a stage knows besides its message.
/// Valid until the stage returns or, for an asynchronous stage, completes. A stage touches it from one thread at a time.
struct Context {
  Seq seq;
  Lease lease;                                      ///< set from the stage that reads the student to the one that publishes it
  std::stop_token stop;                             ///< requested when this batch is no longer wanted
  /// Memory that the batch may need at most from here on (EngineOptions::depth_bytes). The source says the worst case, and a stage that knows better lowers it.
  std::uint64_t bytes = 0;
  std::shared_ptr<const void> next_value = nullptr; // written by Feedback<T>::publish()
};

}  // namespace pipestill::graph
