#include "ports/tokenizer/huggingface/added_tokens.hpp"

#include <algorithm>

#include "ports/tokenizer/huggingface/unicode_tables.hpp"
#include "ports/tokenizer/huggingface/utf8.hpp"

namespace pipestill::huggingface {
namespace {

bool ends_in_word(std::string_view text) { return !text.empty() && unicode::contains(unicode::word(), utf8::last(text)); }

bool begins_with_word(std::string_view text) {
  std::size_t at = 0;
  return !text.empty() && unicode::contains(unicode::word(), utf8::next(text, at));
}

std::size_t without_trailing_space(std::string_view text) {
  while (!text.empty()) {
    const auto code = utf8::last(text);
    if (!unicode::contains(unicode::white_space(), code)) break;
    text.remove_suffix(code < 0x80 ? 1 : code < 0x800 ? 2 : 3);
  }
  return text.size();
}

std::size_t leading_space(std::string_view text) {
  std::size_t end = 0;
  for (std::size_t at = 0; at < text.size();) {
    if (!unicode::contains(unicode::white_space(), utf8::next(text, at))) break;
    end = at;
  }
  return end;
}

unsigned char first_byte(const AddedTokenMatcher::Entry& entry) { return static_cast<unsigned char>(entry.pattern.front()); }

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::vector<Entry> entries) : entries_(std::move(entries)) {
  std::erase_if(entries_, [](const Entry& e) { return e.pattern.empty(); });
  std::stable_sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) { return a.pattern < b.pattern; });
  entries_.erase(std::unique(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) { return a.pattern == b.pattern; }), entries_.end());
  for (const auto& entry : entries_) ++first_by_byte_[first_byte(entry) + std::size_t{1}];
  for (std::size_t b = 1; b < first_by_byte_.size(); ++b) first_by_byte_[b] += first_by_byte_[b - 1];
}

const AddedTokenMatcher::Entry* AddedTokenMatcher::longest_at(std::string_view text) const {
  const auto b = static_cast<unsigned char>(text.front());
  auto low = entries_.begin() + first_by_byte_[b], high = entries_.begin() + first_by_byte_[b + std::size_t{1}];
  const Entry* longest = nullptr;
  // Sorted, so those that agree with the text so far lie together, the one that ends here first.
  for (std::size_t depth = 1; low != high; ++depth) {
    if (low->pattern.size() == depth) longest = &*low++;
    if (depth == text.size() || low == high) break;
    const auto c = static_cast<unsigned char>(text[depth]);
    const auto at = [depth](const Entry& e) { return static_cast<unsigned char>(e.pattern[depth]); };
    low = std::partition_point(low, high, [&](const Entry& e) { return at(e) < c; });
    high = std::partition_point(low, high, [&](const Entry& e) { return at(e) == c; });
  }
  return longest;
}

std::vector<AddedTokenMatcher::Piece> AddedTokenMatcher::split(std::string_view text, bool is_special_known) const {
  std::vector<Piece> pieces;
  std::size_t done = 0;       // up to here the text is in pieces
  std::size_t space_end = 0;  // of the white space that was looked at last: none is looked at twice
  for (std::size_t at = 0; !entries_.empty() && at < text.size();) {
    const auto b = static_cast<unsigned char>(text[at]);
    const Entry* entry = first_by_byte_[b] == first_by_byte_[b + std::size_t{1}] ? nullptr : longest_at(text.substr(at));
    if (!entry) {
      ++at;
      continue;
    }
    std::size_t begin = at, end = at + entry->pattern.size();
    at = end;  // the search goes on here, whatever the flags do
    const auto& token = entry->token;
    if (token.special && !is_special_known) continue;
    if (token.single_word && (ends_in_word(text.substr(0, begin)) || begins_with_word(text.substr(end)))) continue;
    if (token.lstrip) begin = done < begin ? done + without_trailing_space(text.substr(done, begin - done)) : done;
    if (token.rstrip) end = space_end = end < space_end ? space_end : end + leading_space(text.substr(end));
    if (done < begin) pieces.push_back({text.substr(done, begin - done)});
    pieces.push_back({text.substr(begin, end - begin), token.id});
    done = end;
  }
  if (done < text.size()) pieces.push_back({text.substr(done)});
  return pieces;
}

}  // namespace pipestill::huggingface
