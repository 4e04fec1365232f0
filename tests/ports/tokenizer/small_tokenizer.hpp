#pragma once
// Small tokenizer.json files of our own, made from a list of merges.
#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "ports/tokenizer/huggingface/byte_alphabet.hpp"
#include "ports/tokenizer/huggingface_tokenizer.hpp"

namespace pipestill::testing {

using Merges = std::vector<std::pair<std::string, std::string>>;

inline const Merges kSmallMerges{{"t", "h"}, {"th", "e"}, {"Ġ", "the"}, {"a", "b"}, {"b", "a"}, {"ab", "a"}, {"a", "a"}, {"aa", "aa"}, {"Ã", "©"}, {"Ġ", "a"}};

/// Ids 0 to 255 are the bytes, then the merges' results in their order.
inline boost::json::object byte_level_file(const Merges& merges = kSmallMerges) {
  boost::json::object vocab;
  boost::json::array list;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const char raw = static_cast<char>(byte);
    vocab[huggingface::map_bytes({&raw, 1})] = byte;
  }
  for (const auto& [left, right] : merges) {
    vocab[left + right] = vocab.size();
    list.emplace_back(left + " " + right);
  }
  auto file = boost::json::parse(R"({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
    "post_processor": null, "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}})").as_object();
  file["model"] = boost::json::object{{"type", "BPE"}, {"vocab", std::move(vocab)}, {"merges", std::move(list)}};
  return file;
}

/// Characters as tokens; no pre-tokenizer and no decoder.
inline boost::json::object character_file(const std::string& vocab, const std::string& merges, const std::string& options = "{}") {
  auto model = boost::json::parse(options).as_object();
  model["vocab"] = boost::json::parse(vocab);
  model["merges"] = boost::json::parse(merges);
  return {{"model", std::move(model)}};
}

inline void add_token(boost::json::object& file, const std::string& content, boost::json::object flags = {}) {
  flags["content"] = content;
  flags["id"] = 0;
  if (!file.contains("added_tokens")) file["added_tokens"] = boost::json::array();
  file["added_tokens"].as_array().push_back(std::move(flags));
}

inline Result<std::shared_ptr<const HuggingFaceTokenizer>> parse_file(const boost::json::object& file) {
  return HuggingFaceTokenizer::parse(boost::json::serialize(file), "v/tokenizer.json", "/nonexistent");
}
inline std::shared_ptr<const HuggingFaceTokenizer> tokenizer_of(const boost::json::object& file) { return parse_file(file).value(); }

inline std::vector<Token> ids_of(const boost::json::object& file, const std::string& text, SpecialText special = SpecialText::recognise) {
  return tokenizer_of(file)->encode(text, special).value();
}

/// Merges by their definition: the pair of lowest rank, of equal ones the leftmost, one after the other. Symbols are tokens' texts.
inline std::vector<std::string> merged_by_definition(std::vector<std::string> symbols, const Merges& merges) {
  for (;;) {
    std::size_t best = symbols.size(), best_rank = merges.size();
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto rank = static_cast<std::size_t>(std::find(merges.begin(), merges.end(), std::pair(symbols[i], symbols[i + 1])) - merges.begin());
      if (rank < best_rank) best = i, best_rank = rank;
    }
    if (best == symbols.size()) return symbols;
    symbols[best] += symbols[best + 1];
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

/// The tokens of byte_level_file(merges) for a text that is one piece.
inline std::vector<Token> merged_slowly(const std::string& text, const Merges& merges) {
  std::map<std::string, Token> ids;
  std::vector<std::string> symbols;
  for (Token byte = 0; byte < 256; ++byte) {
    const char raw = static_cast<char>(byte);
    ids[huggingface::map_bytes({&raw, 1})] = byte;
  }
  for (const auto& [left, right] : merges) ids.emplace(left + right, ids.size());
  for (const char c : text) symbols.push_back(huggingface::map_bytes({&c, 1}));
  std::vector<Token> tokens;
  for (const auto& symbol : merged_by_definition(std::move(symbols), merges)) tokens.push_back(ids.at(symbol));
  return tokens;
}

}  // namespace pipestill::testing
