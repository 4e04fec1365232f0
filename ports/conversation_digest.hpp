#pragma once
// What a row of a dataset says, as a SHA-256.
#include <span>

#include "ports/renderer/tools.hpp"
#include "ports/sha256.hpp"
#include "ports/types.hpp"

namespace pipestill {

/// SHA-256 over a canonical form in which every length stands before what it measures: the same digest means the same messages, with
/// all that they hold, and the same tools, in the same order. Of a tool it counts what formats print: its object, as json.dumps writes it.
[[nodiscard]] Sha256Digest conversation_digest(std::span<const Message> messages, std::span<const ToolSpec> tools);

}  // namespace pipestill
