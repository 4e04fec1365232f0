#pragma once
// How long a run must take, given what its batches take: teacher and trainer without limit on one side, credits and order on the other.
#include <chrono>
#include <cstddef>
#include <span>
#include <vector>

namespace pipestill::bench {

/// The time at which the last of teacher.size() batches has been trained on. Batch n is admitted, in sequence, when a credit of `depth` is
/// free, and its teacher call begins at once; a training step begins when the one before it has ended; a batch's credit is free when it has
/// been trained on. teacher[n] is batch n's call, training[k] the k-th training step; as many of these. `depth` is at least 1.
///
/// In sequence: batch n trains after batch n - 1, so a credit is free when batch n - depth has been trained on.
[[nodiscard]] std::chrono::nanoseconds makespan_in_sequence(std::span<const std::chrono::nanoseconds> teacher,
                                                            std::span<const std::chrono::nanoseconds> training, std::size_t depth);
/// In completion order: whichever waits longest for its training trains next. Nothing guarantees that this is
/// the shorter: a batch that is let past takes its credit along.
[[nodiscard]] std::chrono::nanoseconds makespan_in_completion_order(std::span<const std::chrono::nanoseconds> teacher,
                                                                    std::span<const std::chrono::nanoseconds> training, std::size_t depth);

}  // namespace pipestill::bench
