#pragma once
// The test that every session begins with: does this machine's arithmetic keep the promise of batch invariance?
#include "graph/base/error.hpp"
#include "ports/embedded/weights.hpp"

namespace pipestill::embedded {

/// Computes 64 rows of random tokens together, on `threads` threads and in two steps, and some of them again alone, on one thread and in
/// one step; all logits must be equal bit for bit. Otherwise ErrorCode::backend_failed. Takes the work of a few hundred tokens.
[[nodiscard]] Result<void> check_batch_invariance(const Model& model, int threads);

}  // namespace pipestill::embedded
