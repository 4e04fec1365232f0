#include "ports/types.hpp"

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

}  // namespace pipestill
