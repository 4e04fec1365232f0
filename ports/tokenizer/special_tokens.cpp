#include "ports/tokenizer/special_tokens.hpp"

#include <algorithm>
#include <cstddef>

namespace pipestill {

std::optional<Token> SpecialTokens::find(std::string_view text) const {
  const auto it = std::find(texts_.begin(), texts_.end(), text);
  if (it == texts_.end()) return std::nullopt;
  return first_id_ + static_cast<Token>(it - texts_.begin());
}

const std::string* SpecialTokens::text(Token id) const {
  if (id < first_id_) return nullptr;
  const auto index = static_cast<std::size_t>(id - first_id_);
  return index < texts_.size() ? &texts_[index] : nullptr;
}

std::vector<SpecialTokens::Piece> SpecialTokens::split(std::string_view text) const {
  std::vector<Piece> pieces;
  std::size_t plain_begin = 0;
  const auto end_plain = [&](std::size_t end) {
    if (end > plain_begin) pieces.push_back({text.substr(plain_begin, end - plain_begin), std::nullopt});
  };
  for (std::size_t at = 0; at < text.size();) {
    const std::string* longest = nullptr;
    for (const std::string& special : texts_) {
      if ((!longest || special.size() > longest->size()) && text.substr(at).starts_with(special)) longest = &special;
    }
    if (!longest) {
      ++at;
      continue;
    }
    end_plain(at);
    pieces.push_back({text.substr(at, longest->size()), first_id_ + static_cast<Token>(longest - texts_.data())});
    at += longest->size();
    plain_begin = at;
  }
  end_plain(text.size());
  return pieces;
}

}  // namespace pipestill
