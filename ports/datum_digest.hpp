#pragma once
// What a batch of training examples is, as 64 hexadecimal digits.
#include <span>
#include <string>

#include "ports/types.hpp"

namespace pipestill {

/// SHA-256 over a canonical form in which every length stands before what it measures: the same digest means the same
/// datums in the same order, to the bit of every float and the border of every chunk.
[[nodiscard]] std::string datum_digest(std::span<const Datum> datums);

}  // namespace pipestill
