#include "ports/tokenizer/bpe_trainer.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <optional>
#include <queue>
#include <set>
#include <utility>

#include "ports/printable.hpp"
#include "ports/tokenizer/huggingface/byte_alphabet.hpp"
#include "ports/tokenizer/huggingface/utf8.hpp"

namespace pipestill {
namespace {

namespace json = boost::json;

/// Neighbours, ordered by the left one's id, then by the right one's.
using TokenPair = std::pair<Token, Token>;

struct TokenPairHash {
  std::size_t operator()(const TokenPair& pair) const {
    const auto key = (std::uint64_t{static_cast<std::uint32_t>(pair.first)} << 32) | static_cast<std::uint32_t>(pair.second);
    return static_cast<std::size_t>((key ^ (key >> 29)) * 0x9e3779b97f4a7c15U >> 20);
  }
};

/// The distinct pieces as tokens, and how often each pair of neighbours occurs in them.
class PairCounts {
 public:
  void add_piece(std::vector<Token> tokens, std::int64_t count) {
    const auto piece = static_cast<std::uint32_t>(pieces_.size());
    for (std::size_t i = 0; i + 1 < tokens.size(); ++i) change({tokens[i], tokens[i + 1]}, count, piece);
    pieces_.push_back({std::move(tokens), count});
  }

  /// The pair that merges next, if one occurs `least` times. It is not named again before it is more frequent than now, or merged.
  std::optional<TokenPair> take_most_frequent(std::int64_t least) {
    push_raised();
    while (!queue_.empty() && queue_.top().count >= least) {
      const auto top = queue_.top();
      queue_.pop();
      const auto now = pairs_.at(top.pair).count;
      if (now == top.count) return top.pair;
      if (now > 0 && now < top.count) queue_.push({now, top.pair});  // a count that has risen has an entry of its own
    }
    return std::nullopt;
  }

  /// Every occurrence of `pair` becomes `merged`.
  void merge(const TokenPair& pair, Token merged) {
    const auto places = std::exchange(pairs_.at(pair).pieces, {});
    for (const auto place : places) {
      auto& [tokens, count] = pieces_[place];
      std::size_t kept = 0;
      for (std::size_t i = 0; i < tokens.size(); ++kept) {
        if (i + 1 == tokens.size() || TokenPair(tokens[i], tokens[i + 1]) != pair) {
          tokens[kept] = tokens[i++];
          continue;
        }
        change(pair, -count, place);
        if (kept > 0) {
          change({tokens[kept - 1], pair.first}, -count, place);
          change({tokens[kept - 1], merged}, count, place);
        }
        if (i + 2 < tokens.size()) {
          change({pair.second, tokens[i + 2]}, -count, place);
          change({merged, tokens[i + 2]}, count, place);
        }
        tokens[kept] = merged;
        i += 2;
      }
      tokens.resize(kept);
    }
  }

 private:
  struct Piece {
    std::vector<Token> tokens;
    std::int64_t count;
  };
  struct Occurrences {
    std::int64_t count = 0;
    std::vector<std::uint32_t> pieces = {};  ///< where it occurs, and where it did once
  };
  struct Candidate {
    std::int64_t count;
    TokenPair pair;
  };
  struct IsRarer {
    bool operator()(const Candidate& a, const Candidate& b) const { return a.count != b.count ? a.count < b.count : a.pair > b.pair; }
  };

  void change(const TokenPair& pair, std::int64_t by, std::uint32_t piece) {
    auto& occurrences = pairs_[pair];
    occurrences.count += by;
    if (by < 0) return;
    if (occurrences.pieces.empty() || occurrences.pieces.back() != piece) occurrences.pieces.push_back(piece);
    raised_.push_back(pair);
  }

  void push_raised() {
    std::ranges::sort(raised_);
    raised_.erase(std::unique(raised_.begin(), raised_.end()), raised_.end());
    for (const auto& pair : raised_) queue_.push({pairs_.at(pair).count, pair});
    raised_.clear();
  }

  std::vector<Piece> pieces_;
  std::unordered_map<TokenPair, Occurrences, TokenPairHash> pairs_;
  std::vector<TokenPair> raised_;  ///< since the latest push
  std::priority_queue<Candidate, std::vector<Candidate>, IsRarer> queue_;  ///< of each pair an entry with its count, or with a higher one that it had
};

json::object pre_tokenizer_json() {
  return json::parse(R"({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true},
    {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}]})").as_object();
}

class PieceCounter final : public huggingface::PieceSink {
 public:
  explicit PieceCounter(std::unordered_map<std::string, std::int64_t>& counts) : counts_(counts) {}
  bool add_piece(std::string_view piece) override {
    ++counts_[std::string(piece)];
    return true;
  }

 private:
  std::unordered_map<std::string, std::int64_t>& counts_;
};

}  // namespace

Result<BpeTrainer> BpeTrainer::make(BpeTrainingOptions options) {
  const auto refuse = [](const std::string& what) { return fail(ErrorCode::invalid_input, what); };
  std::set<std::string_view> seen;
  for (const auto& special : options.special_tokens) {
    const auto shown = "special token \"" + printable(special) + "\"";
    if (special.empty()) return refuse("a special token is empty; name a text that marks it");
    if (!is_utf8(special)) return refuse(shown + " is not UTF-8");
    if (special.size() > huggingface::kMaxAddedBytes) return refuse(fmt::format("{} has {} bytes; at most {} can be read", shown, special.size(), huggingface::kMaxAddedBytes));
    if (!seen.insert(special).second) return refuse(shown + " is given twice");
    if (const auto raw = huggingface::unmap_bytes(special); raw && raw->size() == 1) return refuse(shown + " is how tokenizer.json writes a byte; name a longer text");
  }
  if (!seen.contains(options.eos_token)) return refuse("the end token \"" + printable(options.eos_token) + "\" is none of the special tokens; name one of them");
  const auto least = options.special_tokens.size() + 256;
  if (options.vocab_size < least || options.vocab_size > huggingface::kMaxTokens) {
    return refuse(fmt::format("a vocabulary of {} tokens: the 256 bytes and {} special tokens need {}, and at most {} can be read", options.vocab_size,
                              options.special_tokens.size(), least, huggingface::kMaxTokens));
  }
  if (options.min_count < 1) return refuse(fmt::format("a least count of {}: a pair that merges occurs at least once", options.min_count));
  auto pre_tokenizer = huggingface::PreTokenizer::parse(pre_tokenizer_json(), huggingface::JsonPlace("pre_tokenizer"));
  if (!pre_tokenizer) return fail(ErrorCode::internal, pre_tokenizer.error().message);
  return BpeTrainer(std::move(options), *std::move(pre_tokenizer));
}

Result<void> BpeTrainer::add(std::string_view text) {
  if (const auto valid = utf8::valid_prefix(text); valid < text.size()) {
    return fail(ErrorCode::invalid_input, "text to be trained on is not UTF-8 at byte " + std::to_string(valid + 1));
  }
  PieceCounter counter(pieces_);
  if (!pre_tokenizer_.split(text, counter)) return fail(ErrorCode::internal, "a text of " + std::to_string(text.size()) + " bytes cannot be cut into pieces");
  return {};
}

BpeVocabulary BpeTrainer::train() const {
  auto texts = options_.special_tokens;  // by id, as tokenizer.json writes them
  const auto specials = static_cast<Token>(texts.size());
  std::array<Token, 256> of_byte{};
  for (char32_t code = 0; texts.size() < options_.special_tokens.size() + of_byte.size(); ++code) {
    const int byte = huggingface::character_byte(code);
    if (byte < 0) continue;
    of_byte[static_cast<std::size_t>(byte)] = static_cast<Token>(texts.size());
    utf8::append(texts.emplace_back(), code);
  }
  PairCounts pairs;
  for (const auto& [piece, count] : pieces_) {
    std::vector<Token> tokens;
    for (const char byte : piece) tokens.push_back(of_byte[static_cast<unsigned char>(byte)]);
    pairs.add_piece(std::move(tokens), count);
  }
  // No two pairs spell the same token: what becomes of the bytes between two borders that no merge crosses has nothing to do with what stands around them.
  const std::set<std::string_view> special(options_.special_tokens.begin(), options_.special_tokens.end());
  json::array merges;
  while (texts.size() < options_.vocab_size) {
    const auto pair = pairs.take_most_frequent(options_.min_count);
    if (!pair) break;
    const auto& left = texts[static_cast<std::size_t>(pair->first)];
    const auto& right = texts[static_cast<std::size_t>(pair->second)];
    auto text = left + right;
    if (special.contains(text)) continue;
    merges.emplace_back(left + " " + right);
    pairs.merge(*pair, static_cast<Token>(texts.size()));
    texts.push_back(std::move(text));
  }

  BpeVocabulary out{.tokenizer = {}, .config = {}, .tokens = texts.size(), .merges = merges.size()};
  json::array added;
  for (Token id = 0; id < specials; ++id) {
    added.push_back(json::object{{"id", id}, {"content", texts[static_cast<std::size_t>(id)]}, {"single_word", false}, {"lstrip", false}, {"rstrip", false},
                                 {"normalized", false}, {"special", true}});
  }
  json::object vocab;
  for (const auto& text : texts) vocab.emplace(text, vocab.size());
  out.tokenizer = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}, {"added_tokens", std::move(added)}, {"normalizer", nullptr},
                   {"pre_tokenizer", pre_tokenizer_json()}, {"post_processor", nullptr},
                   {"decoder", {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}}},
                   {"model", {{"type", "BPE"}, {"dropout", nullptr}, {"unk_token", nullptr}, {"continuing_subword_prefix", nullptr},
                              {"end_of_word_suffix", nullptr}, {"fuse_unk", false}, {"byte_fallback", false}, {"ignore_merges", false},
                              {"vocab", std::move(vocab)}, {"merges", std::move(merges)}}}};
  out.config = {{"tokenizer_class", "PreTrainedTokenizerFast"}, {"bos_token", nullptr}, {"eos_token", options_.eos_token}};
  return out;
}

}  // namespace pipestill
