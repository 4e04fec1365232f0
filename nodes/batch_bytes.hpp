#pragma once
// What a batch holds in memory, for engine.depth_bytes. Estimates in bytes of what grows with the data: texts, tokens, tensors. What the models
// compute with is not in them.
#include <cstdint>

#include "nodes/messages.hpp"
#include "nodes/recipe.hpp"

namespace pipestill {

/// The most that the batch may come to on its way: rows, prompts, answers of max_tokens, and the datums made of them.
[[nodiscard]] std::uint64_t most_bytes(const Recipe& recipe, const PromptBatch& batch);

/// The same for answers that are there.
[[nodiscard]] std::uint64_t most_bytes(const SampledBatch& batch);

[[nodiscard]] std::uint64_t bytes_of(const DatumBatch& batch);

}  // namespace pipestill
