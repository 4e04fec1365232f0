#include "ports/types.hpp"

#include <algorithm>
#include <utility>

namespace pipestill {

ModelInput ModelInput::from_ints(std::vector<Token> tokens) { return {{EncodedTextChunk{std::move(tokens)}}}; }

std::size_t ModelInput::length() const {
  std::size_t n = 0;
  for (const auto& chunk : chunks) n += chunk.tokens.size();
  return n;
}

std::vector<Token> ModelInput::to_ints() const {
  std::vector<Token> all;
  all.reserve(length());
  for (const auto& chunk : chunks) all.insert(all.end(), chunk.tokens.begin(), chunk.tokens.end());
  return all;
}

std::size_t weighted_positions(const TensorData& weights) {
  const auto count = [&weights](const auto& values) {
    const auto width = weights.shape.size() == 2 ? static_cast<std::size_t>(std::max<std::int64_t>(weights.shape[1], 1)) : 1;
    std::size_t positions = 0;
    for (std::size_t i = 0; i < values.size(); i += width) {
      const auto row = values.begin() + static_cast<std::ptrdiff_t>(i);
      const auto end = row + static_cast<std::ptrdiff_t>(std::min(width, values.size() - i));
      positions += std::any_of(row, end, [](auto w) { return w != 0; }) ? 1 : 0;
    }
    return positions;
  };
  return std::visit(count, weights.data);
}

}  // namespace pipestill
