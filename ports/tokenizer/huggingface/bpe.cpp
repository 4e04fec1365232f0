#include "ports/tokenizer/huggingface/bpe.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/json/array.hpp>
#include <bit>
#include <cstring>
#include <functional>
#include <queue>
#include <utility>

#include "ports/printable.hpp"
#include "ports/sha256.hpp"
#include "ports/tokenizer/huggingface/byte_alphabet.hpp"
#include "ports/tokenizer/huggingface/utf8.hpp"

namespace pipestill::huggingface {
namespace {

namespace json = boost::json;

constexpr std::size_t kFewSymbols = 48;  // up to here looking at all pairs each time is faster than a heap
constexpr std::size_t kMaxSymbols = std::size_t{1} << 30;
constexpr std::string_view kWordMark = "\xe2\x96\x81";  // U+2581, SentencePiece's mark for a space
constexpr auto kNoRank = std::numeric_limits<std::uint32_t>::max();

std::string_view view(const json::string& text) { return {text.data(), text.size()}; }

/// What a thread encoded last. A piece has one place, so there is nothing to evict.
class PieceCache {
 public:
  static constexpr std::size_t kMaxBytes = 23, kMaxTokens = 6;

  bool find(std::uint64_t owner, std::string_view piece, std::size_t hash, std::vector<Token>& tokens) const {
    const auto& entry = entries_[hash % entries_.size()];
    if (entry.owner != owner || entry.length != piece.size() || std::memcmp(entry.piece.data(), piece.data(), piece.size()) != 0) return false;
    tokens.insert(tokens.end(), entry.tokens.begin(), entry.tokens.begin() + entry.count);
    return true;
  }
  void put(std::uint64_t owner, std::string_view piece, std::size_t hash, const Token* tokens, std::size_t count) {
    if (count > kMaxTokens) return;
    auto& entry = entries_[hash % entries_.size()];
    entry.owner = owner;
    entry.length = static_cast<std::uint8_t>(piece.size());
    entry.count = static_cast<std::uint8_t>(count);
    std::memcpy(entry.piece.data(), piece.data(), piece.size());
    std::copy_n(tokens, count, entry.tokens.begin());
  }

 private:
  struct Entry {
    std::uint64_t owner = 0;
    std::uint8_t length = 0, count = 0;
    std::array<char, kMaxBytes> piece = {};
    std::array<Token, kMaxTokens> tokens = {};
  };
  std::vector<Entry> entries_ = std::vector<Entry>(std::size_t{1} << 14);
};

PieceCache& piece_cache() {
  thread_local PieceCache cache;
  return cache;
}

/// A merge to be made: its rank, then its place, in one number that orders them.
using Candidate = std::uint64_t;
Candidate candidate(std::uint32_t rank, std::int32_t at) { return (std::uint64_t{rank} << 32) | static_cast<std::uint32_t>(at); }

}  // namespace

void TokenIndex::reserve(std::size_t tokens, std::size_t bytes) {
  slots_.assign(std::bit_ceil(2 * tokens + 2), {});
  keys_.reserve(bytes);
}

void TokenIndex::insert(std::string_view key, Token id) {
  const auto hash = static_cast<std::uint32_t>(std::hash<std::string_view>()(key));
  auto at = hash & (slots_.size() - 1);
  while (slots_[at].id >= 0) at = (at + 1) & (slots_.size() - 1);
  slots_[at] = {hash, static_cast<std::uint32_t>(keys_.size()), static_cast<std::uint32_t>(key.size()), id};
  keys_ += key;
}

std::optional<Token> TokenIndex::find(std::string_view key) const {
  const auto hash = static_cast<std::uint32_t>(std::hash<std::string_view>()(key));
  for (auto at = hash & (slots_.size() - 1); slots_[at].id >= 0; at = (at + 1) & (slots_.size() - 1)) {
    const auto& slot = slots_[at];
    if (slot.hash == hash && slot.length == key.size() && std::memcmp(keys_.data() + slot.begin, key.data(), key.size()) == 0) return slot.id;
  }
  return std::nullopt;
}

void MergeTable::reserve(std::size_t merges) {
  slots_.assign(std::bit_ceil(2 * merges + 2), {});
  mask_ = slots_.size() - 1;
}

void MergeTable::insert(Token left, Token right, Merge merge) {
  const auto key = key_of(left, right);
  auto at = slot_of(key);
  while (slots_[at].key != kFree && slots_[at].key != key) at = (at + 1) & mask_;
  slots_[at] = {key, merge};
}

Result<BpeModel> BpeModel::parse(const json::object& model, bool is_byte_level, const JsonPlace& place) {
  const auto type = string_at(model, "type", place, "BPE");
  if (!type) return fail(type.error());
  if (*type != "BPE") return place.key("type").refuse("is \"" + printable(*type) + "\"; BPE is what can be read");
  BpeModel out;
  out.is_byte_level_ = is_byte_level;
  if (auto done = out.read_options(model, place); !done) return fail(done.error());
  if (auto done = out.read_vocabulary(model, place); !done) return fail(done.error());
  if (auto done = out.read_merges(model, place); !done) return fail(done.error());
  out.index_pieces();
  out.find_word_marks();
  static std::atomic<std::uint64_t> count{0};
  out.identity_ = ++count;
  return out;
}

Result<void> BpeModel::read_options(const json::object& model, const JsonPlace& place) {
  if (const auto* dropout = find_value(model, "dropout"); dropout && *dropout != 0 && *dropout != 0.0) {
    return place.key("dropout").refuse("makes tokens a matter of chance; only null and 0 can be read");
  }
  struct Flag {
    const char* key;
    bool* value;
  };
  for (const auto& [key, value] : {Flag{"fuse_unk", &fuse_unk_}, {"byte_fallback", &byte_fallback_}, {"ignore_merges", &ignore_merges_}}) {
    const auto read = bool_at(model, key, place, false);
    if (!read) return fail(read.error());
    *value = *read;
  }
  struct Text {
    const char* key;
    std::string* value;
  };
  for (const auto& [key, value] : {Text{"unk_token", &unk_token_}, {"continuing_subword_prefix", &prefix_}, {"end_of_word_suffix", &suffix_}}) {
    auto read = string_at(model, key, place, "");
    if (!read) return fail(read.error());
    *value = *std::move(read);
  }
  has_unk_ = find_value(model, "unk_token") != nullptr;
  is_plain_ = prefix_.empty() && suffix_.empty();
  return {};
}

Result<void> BpeModel::read_vocabulary(const json::object& model, const JsonPlace& place) {
  const auto inner = place.key("vocab");
  const auto* value = find_value(model, "vocab");
  const auto* vocab = value ? value->if_object() : nullptr;
  if (!vocab) return inner.refuse(value ? "must be an object of tokens and their ids" : "is missing");
  if (vocab->size() > kMaxTokens) return inner.refuse(fmt::format("has {} tokens; at most {} can be read", vocab->size(), kMaxTokens));
  std::size_t bytes = 0;
  for (const auto& [text, id] : *vocab) {
    std::uint64_t number = 0;
    if (id.is_int64() && id.get_int64() >= 0) number = static_cast<std::uint64_t>(id.get_int64());
    else return inner.key(std::string_view(text.data(), text.size())).refuse("must be an id, a number from 0 on");
    if (number >= kMaxTokens) return inner.key(std::string_view(text.data(), text.size())).refuse(fmt::format("must be an id below {}", kMaxTokens));
    if (number >= texts_.size()) texts_.resize(std::max<std::size_t>(number + 1, std::min(vocab->size(), kMaxTokens)));
    bytes += text.size();
  }
  std::vector<bool> has(texts_.size(), false);
  index_.reserve(vocab->size(), bytes);
  names_.reserve(vocab->size(), bytes);
  for (const auto& [key, id] : *vocab) {
    const std::string_view text(key.data(), key.size());
    const auto at = static_cast<std::size_t>(id.get_int64());
    if (has[at]) return inner.key(text).refuse(fmt::format("has the id {}, as \"{}\" has", at, printable(texts_[at])));
    has[at] = true;
    texts_[at] = text;
    names_.insert(text, static_cast<Token>(at));
    if (!is_byte_level_) {
      index_.insert(text, static_cast<Token>(at));
    } else if (const auto raw = unmap_bytes(text)) {
      index_.insert(*raw, static_cast<Token>(at));
    }
  }
  token_count_ = vocab->size();
  if (has_unk_) unk_id_ = names_.find(unk_token_);
  fallback_.assign(256, -1);
  for (std::size_t byte = 0; byte < 256; ++byte) fallback_[byte] = names_.find(fmt::format("<0x{:02X}>", byte)).value_or(-1);
  of_byte_.assign(256, -1);
  for (std::size_t byte = 0; is_byte_level_ && byte < 256; ++byte) {
    const char raw = static_cast<char>(byte);
    of_byte_[byte] = index_.find(std::string_view(&raw, 1)).value_or(-1);
  }
  return {};
}

Result<void> BpeModel::read_merges(const json::object& model, const JsonPlace& place) {
  const auto inner = place.key("merges");
  const auto* value = find_value(model, "merges");
  const auto* list = value ? value->if_array() : nullptr;
  if (!list) return inner.refuse(value ? "must be a list" : "is missing");
  if (list->size() > kMaxMerges) return inner.refuse(fmt::format("has {} merges; at most {} can be read", list->size(), kMaxMerges));
  merges_.reserve(list->size());
  std::string joined, ranked;
  ranked.reserve(list->size() * 8);
  std::uint32_t rank = 0;
  const bool are_pairs = !list->empty() && list->front().is_array();
  for (std::size_t i = 0; i < list->size(); ++i) {
    const auto& item = (*list)[i];
    std::string_view left, right;
    if (are_pairs) {
      const auto* pair = item.if_array();
      if (!pair || pair->size() != 2 || !(*pair)[0].is_string() || !(*pair)[1].is_string()) return inner.item(i).refuse("must be a list of two texts, as the first one is");
      left = view((*pair)[0].get_string()), right = view((*pair)[1].get_string());
    } else {
      if (!item.is_string()) return inner.item(i).refuse("must be a text of two tokens with a space between them");
      const auto text = view(item.get_string());
      if (text.starts_with("#version")) continue;
      const auto space = text.find(' ');
      if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos) {
        return inner.item(i).refuse("is \"" + printable(text) + "\"; it must be two tokens with one space between them");
      }
      left = text.substr(0, space), right = text.substr(space + 1);
    }
    const auto unlisted = [&](std::string_view text) { return inner.item(i).refuse("needs the token \"" + printable(text) + "\", which the vocabulary does not have"); };
    const auto first = names_.find(left), second = names_.find(right);
    if (!first) return unlisted(left);
    if (!second) return unlisted(right);
    if (right.size() < prefix_.size()) return inner.item(i).refuse("has a second token that is shorter than continuing_subword_prefix");
    joined.assign(left).append(right.substr(prefix_.size()));
    const auto merged = names_.find(joined);
    if (!merged) return unlisted(joined);
    merges_.insert(*first, *second, {rank++, *merged});
    is_joined_at_mark_ = is_joined_at_mark_ || (right.starts_with(kWordMark) && !left.ends_with(kWordMark));
    const std::array<Token, 2> pair{*first, *second};
    ranked.append(reinterpret_cast<const char*>(pair.data()), sizeof pair);
  }
  Sha256 hash;
  hash.field("BPE").field(unk_token_).field(prefix_).field(suffix_);
  hash.number((has_unk_ ? 1U : 0U) | (fuse_unk_ ? 2U : 0U) | (byte_fallback_ ? 4U : 0U) | (ignore_merges_ ? 8U : 0U));
  std::string vocabulary;
  for (std::size_t id = 0; id < texts_.size(); ++id) {
    if (texts_[id].empty()) continue;
    vocabulary += fmt::format("{} {} ", id, texts_[id].size());
    vocabulary += texts_[id];
  }
  digest_ = to_hex(hash.field(vocabulary).field(ranked).finish());
  return {};
}

void BpeModel::index_pieces() {
  // A whole piece that is a token need not be merged together, if that is what merging would give: seen here, once for each token.
  is_whole_.assign(texts_.size(), false);
  std::vector<Token> tokens;
  for (std::size_t id = 0; id < texts_.size(); ++id) {
    if (texts_[id].empty()) continue;
    const auto raw = is_byte_level_ ? unmap_bytes(texts_[id]) : std::optional(texts_[id]);
    if (!raw || raw->empty()) continue;
    if (ignore_merges_) {
      is_whole_[id] = true;
      continue;
    }
    tokens.clear();
    is_whole_[id] = merge_piece(*raw, tokens) && tokens.size() == 1 && tokens.front() == static_cast<Token>(id);
  }
}

void BpeModel::find_word_marks() {
  // A text without a pre-tokenizer is one piece. If no merge reaches over the border between some character and the "▁" after it, then the words on both
  // sides are merged alike together and apart, and apart they are short and often seen before. What stands at the border is the text of the two characters,
  // if "▁" is a token and no character vanishes; bytes (<0x00>) and the unknown token have texts that the test of the merges has seen, too.
  has_words_ = !is_byte_level_ && is_plain_ && !ignore_merges_ && !is_joined_at_mark_ && has_unk_ && !unk_token_.ends_with(kWordMark) && names_.find(kWordMark).has_value();
}

Result<void> BpeModel::add_unlisted(std::string_view character, std::string_view symbol, Token& pending_unknown, std::vector<Token>& symbols) const {
  if (byte_fallback_) {
    const auto begin = symbols.size();
    for (const char byte : symbol) symbols.push_back(fallback_[static_cast<unsigned char>(byte)]);
    if (std::find(symbols.begin() + static_cast<std::ptrdiff_t>(begin), symbols.end(), -1) == symbols.end()) return {};
    symbols.resize(begin);
  }
  if (!has_unk_) return {};
  if (!unk_id_) {
    return fail(ErrorCode::invalid_input, "the vocabulary has neither the character \"" + printable(character) + "\" nor its unk_token \"" + printable(unk_token_) + "\"");
  }
  // Waits for a known character, so that those that follow can be fused with it.
  if (pending_unknown >= 0 && !fuse_unk_) symbols.push_back(pending_unknown);
  pending_unknown = *unk_id_;
  return {};
}

Result<void> BpeModel::symbols_of(std::string_view piece, std::vector<Token>& symbols) const {
  if (!is_byte_level_) return symbols_of_text(piece, symbols);
  if (!is_plain_) return symbols_of_text(map_bytes(piece), symbols);
  Token pending_unknown = -1;
  for (const char byte : piece) {
    if (const auto id = of_byte_[static_cast<unsigned char>(byte)]; id >= 0) {
      if (pending_unknown >= 0) symbols.push_back(std::exchange(pending_unknown, -1));
      symbols.push_back(id);
    } else {
      const auto character = map_bytes(std::string_view(&byte, 1));
      if (auto done = add_unlisted(character, character, pending_unknown, symbols); !done) return done;
    }
  }
  if (pending_unknown >= 0) symbols.push_back(pending_unknown);
  return {};
}

Result<void> BpeModel::symbols_of_text(std::string_view piece, std::vector<Token>& symbols) const {
  Token pending_unknown = -1;
  std::string decorated;
  for (std::size_t at = 0; at < piece.size();) {
    const auto begin = at;
    utf8::next(piece, at);
    const auto character = piece.substr(begin, at - begin);
    auto symbol = character;
    if (!is_plain_) {
      decorated.assign(begin > 0 ? prefix_ : "").append(character).append(at == piece.size() ? suffix_ : "");
      symbol = decorated;
    }
    const auto key = is_byte_level_ ? unmap_bytes(symbol) : std::optional<std::string>();
    if (const auto id = is_byte_level_ ? (key ? index_.find(*key) : std::nullopt) : index_.find(symbol)) {
      if (pending_unknown >= 0) symbols.push_back(std::exchange(pending_unknown, -1));
      symbols.push_back(*id);
    } else if (auto done = add_unlisted(character, symbol, pending_unknown, symbols); !done) {
      return done;
    }
  }
  if (pending_unknown >= 0) symbols.push_back(pending_unknown);
  return {};
}

void BpeModel::merge_few(std::vector<Token>& symbols, std::vector<Token>& tokens) const {
  std::array<MergeTable::Merge, kFewSymbols> merges;  // [i]: of symbols i and i + 1
  std::size_t count = symbols.size();
  for (std::size_t i = 0; i + 1 < count; ++i) merges[i] = merges_.find(symbols[i], symbols[i + 1]);
  while (count > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < count; ++i) {
      if (merges[i].rank < merges[best].rank) best = i;
    }
    if (merges[best].rank == kNoRank) break;
    symbols[best] = merges[best].token;
    std::move(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 2, symbols.begin() + static_cast<std::ptrdiff_t>(count), symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    if (best + 2 < count) std::move(merges.begin() + best + 2, merges.begin() + count - 1, merges.begin() + best + 1);
    --count;
    if (best + 1 < count) merges[best] = merges_.find(symbols[best], symbols[best + 1]);
    if (best > 0) merges[best - 1] = merges_.find(symbols[best - 1], symbols[best]);
  }
  tokens.insert(tokens.end(), symbols.begin(), symbols.begin() + static_cast<std::ptrdiff_t>(count));
}

void BpeModel::merge_many(const std::vector<Token>& symbols, std::vector<Token>& tokens) const {
  std::vector<Symbol> chain;
  chain.reserve(symbols.size());
  const auto count = static_cast<std::int32_t>(symbols.size());
  for (std::int32_t i = 0; i < count; ++i) chain.push_back({symbols[static_cast<std::size_t>(i)], i - 1, i + 1 < count ? i + 1 : -1, {}});
  const auto at = [&](std::int32_t i) -> Symbol& { return chain[static_cast<std::size_t>(i)]; };
  const auto look_up = [&](std::int32_t i) {
    return at(i).merge = at(i).next < 0 ? MergeTable::Merge{} : merges_.find(at(i).id, at(at(i).next).id);
  };
  std::vector<Candidate> seeds;
  for (std::int32_t i = 0; i < count; ++i) {
    if (const auto merge = look_up(i); merge.rank != kNoRank) seeds.push_back(candidate(merge.rank, i));
  }
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue(std::greater<>(), std::move(seeds));
  const auto offer = [&](std::int32_t i) {
    if (const auto merge = look_up(i); merge.rank != kNoRank) queue.push(candidate(merge.rank, i));
  };
  while (!queue.empty()) {
    const auto best = queue.top();
    queue.pop();
    const auto here = static_cast<std::int32_t>(best & 0xffffffffU);
    auto& left = at(here);
    if (left.merge.rank != best >> 32) continue;  // one of the two has merged with another meanwhile
    auto& right = at(left.next);
    left.id = left.merge.token;
    left.next = right.next;
    right.merge = {};
    if (left.next >= 0) at(left.next).previous = here;
    if (left.previous >= 0) offer(left.previous);
    offer(here);
  }
  for (std::int32_t i = 0; i >= 0; i = at(i).next) tokens.push_back(at(i).id);
}

Result<void> BpeModel::merge_piece(std::string_view piece, std::vector<Token>& tokens) const {
  if (piece.size() > kMaxSymbols) return fail(ErrorCode::invalid_input, fmt::format("a piece of {} bytes is too long; at most {} are encoded as one", piece.size(), kMaxSymbols));
  thread_local std::vector<Token> symbols;
  symbols.clear();
  if (auto done = symbols_of(piece, symbols); !done) return done;
  if (symbols.size() <= kFewSymbols) {
    merge_few(symbols, tokens);
  } else {
    merge_many(symbols, tokens);
    if (symbols.capacity() > (std::size_t{1} << 20)) std::vector<Token>().swap(symbols);
  }
  return {};
}

Result<void> BpeModel::encode(std::string_view piece, std::vector<Token>& tokens) const {
  if (!has_words_) return encode_word(piece, tokens);
  for (std::size_t begin = 0; begin < piece.size();) {
    auto end = piece.find(kWordMark, begin + 1);
    while (end != std::string_view::npos && piece.substr(begin, end - begin).ends_with(kWordMark)) end = piece.find(kWordMark, end + kWordMark.size());
    end = std::min(end, piece.size());
    if (auto done = encode_word(piece.substr(begin, end - begin), tokens); !done) return done;
    begin = end;
  }
  return {};
}

Result<void> BpeModel::encode_word(std::string_view piece, std::vector<Token>& tokens) const {
  if (piece.size() > PieceCache::kMaxBytes) {
    if (const auto whole = index_.find(piece); whole && is_whole_[static_cast<std::size_t>(*whole)]) {
      tokens.push_back(*whole);
      return {};
    }
    return merge_piece(piece, tokens);
  }
  const auto hash = std::hash<std::string_view>()(piece);
  auto& cache = piece_cache();
  if (cache.find(identity_, piece, hash, tokens)) return {};
  const auto begin = tokens.size();
  if (const auto whole = index_.find(piece); whole && is_whole_[static_cast<std::size_t>(*whole)]) {
    tokens.push_back(*whole);
  } else if (auto done = merge_piece(piece, tokens); !done) {
    return done;
  }
  cache.put(identity_, piece, hash, tokens.data() + begin, tokens.size() - begin);
  return {};
}

}  // namespace pipestill::huggingface
