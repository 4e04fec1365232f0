#include "ports/tokenizer/huggingface_tokenizer.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <map>
#include <unordered_map>

#include "ports/printable.hpp"
#include "ports/sha256.hpp"
#include "ports/strict_json.hpp"
#include "ports/text_file.hpp"
#include "ports/tokenizer/huggingface/utf8.hpp"

namespace pipestill {
namespace {

namespace json = boost::json;

/// The value with every object's keys sorted: equal JSON has equal text.
std::string canonical(const json::value& value) {
  if (const auto* array = value.if_array()) {
    std::string text = "[";
    for (const auto& item : *array) text += canonical(item) + ",";
    return text + "]";
  }
  if (const auto* object = value.if_object()) {
    std::map<std::string, std::string> items;
    for (const auto& [key, item] : *object) items.emplace(json::serialize(json::string(key)), canonical(item));
    std::string text = "{";
    for (const auto& [key, item] : items) text += key + ":" + item + ",";
    return text + "}";
  }
  return json::serialize(value);
}

const json::value& value_at(const json::object& object, std::string_view key) {
  static const json::value kNull;
  const auto* value = huggingface::find_value(object, key);
  return value ? *value : kNull;
}

/// Hands pieces to the model.
class Encoder final : public huggingface::PieceSink {
 public:
  Encoder(const huggingface::BpeModel& model, std::vector<Token>& tokens) : model_(model), tokens_(tokens) {}
  bool add_piece(std::string_view piece) override {
    done_ = model_.encode(piece, tokens_);
    return done_.has_value();
  }
  [[nodiscard]] const Result<void>& done() const { return done_; }

 private:
  const huggingface::BpeModel& model_;
  std::vector<Token>& tokens_;
  Result<void> done_ = {};
};

}  // namespace

Result<std::shared_ptr<const HuggingFaceTokenizer>> HuggingFaceTokenizer::parse(std::string text, const std::string& place, const std::filesystem::path& directory) {
  const auto document = parse_strict_json(text, place, huggingface::kMaxFileBytes);
  if (!document) return fail(document.error());
  const auto* object = document->if_object();
  if (!object) return fail(ErrorCode::invalid_input, place + ": expected a JSON object");
  const std::shared_ptr<HuggingFaceTokenizer> out(new HuggingFaceTokenizer());
  if (auto done = out->read(*object, huggingface::JsonPlace(place)); !done) return fail(done.error());
  auto ids = read_special_ids(directory, [&](std::string_view wanted) {
    if (const auto added = out->special_token(wanted)) return added;
    return out->model_->find(wanted);
  });
  if (!ids) return fail(ids.error());
  for (auto* id : {&ids->bos, &ids->eos}) {
    if (*id && (static_cast<std::size_t>(**id) >= out->texts_.size() || !out->is_there_[static_cast<std::size_t>(**id)])) *id = std::nullopt;
  }
  out->ids_ = *ids;
  out->fingerprint_ = out->digest(*object);
  out->text_ = std::move(text);
  return std::shared_ptr<const HuggingFaceTokenizer>(out);
}

Result<void> HuggingFaceTokenizer::read(const json::object& file, const huggingface::JsonPlace& place) {
  auto normalizer = huggingface::Normalizer::parse(value_at(file, "normalizer"), place.key("normalizer"));
  if (!normalizer) return fail(normalizer.error());
  normalizer_ = *std::move(normalizer);
  auto pre_tokenizer = huggingface::PreTokenizer::parse(value_at(file, "pre_tokenizer"), place.key("pre_tokenizer"));
  if (!pre_tokenizer) return fail(pre_tokenizer.error());
  pre_tokenizer_ = *std::move(pre_tokenizer);
  const auto model_object = huggingface::object_of(value_at(file, "model"), place.key("model"));
  if (!model_object) return fail(model_object.error());
  auto model = huggingface::BpeModel::parse(**model_object, pre_tokenizer_.is_byte_level(), place.key("model"));
  if (!model) return fail(model.error());
  model_ = std::make_shared<const huggingface::BpeModel>(*std::move(model));
  auto post_processor = huggingface::PostProcessor::parse(value_at(file, "post_processor"), place.key("post_processor"));
  if (!post_processor) return fail(post_processor.error());
  post_processor_ = *std::move(post_processor);
  auto decoder = huggingface::TokenDecoder::parse(value_at(file, "decoder"), place.key("decoder"));
  if (!decoder) return fail(decoder.error());
  decoder_ = *std::move(decoder);
  return read_added_tokens(file, place.key("added_tokens"));
}

Result<void> HuggingFaceTokenizer::read_added_tokens(const json::object& file, const huggingface::JsonPlace& place) {
  texts_ = model_->texts();
  is_there_.assign(texts_.size(), false);
  for (std::size_t id = 0; id < texts_.size(); ++id) is_there_[id] = !texts_[id].empty();
  const auto& list = value_at(file, "added_tokens");
  if (!list.is_null() && !list.is_array()) return place.refuse("must be a list");
  const auto count = list.is_array() ? list.get_array().size() : 0;
  if (count > huggingface::kMaxAddedTokens) return place.refuse(fmt::format("has {} tokens; at most {} can be read", count, huggingface::kMaxAddedTokens));
  std::unordered_map<std::string, std::size_t> places;  // in added_
  Token highest = -1;
  for (std::size_t i = 0; i < count; ++i) {
    const auto at = place.item(i);
    const auto object = huggingface::object_of(list.get_array()[i], at);
    if (!object) return fail(object.error());
    huggingface::AddedToken token;
    auto content = huggingface::string_at(**object, "content", at);
    if (!content) return fail(content.error());
    token.content = *std::move(content);
    if (token.content.size() > huggingface::kMaxAddedBytes) return at.key("content").refuse(fmt::format("has {} bytes; at most {} can be read", token.content.size(), huggingface::kMaxAddedBytes));
    struct Flag {
      const char* key;
      bool* value;
      bool otherwise;
    };
    const auto special = huggingface::bool_at(**object, "special", at, false);
    if (!special) return fail(special.error());
    token.special = *special;
    for (const auto& [key, value, otherwise] : {Flag{"single_word", &token.single_word, false}, {"lstrip", &token.lstrip, false}, {"rstrip", &token.rstrip, false},
                                                {"normalized", &token.normalized, !token.special}}) {
      const auto flag = huggingface::bool_at(**object, key, at, otherwise);
      if (!flag) return fail(flag.error());
      *value = *flag;
    }
    if (token.content.empty()) continue;
    const auto before = places.find(token.content);
    if (before != places.end()) {
      token.id = added_[before->second].id;
    } else if (const auto known = model_->find(token.content)) {
      token.id = *known;
    } else {
      // The file's own id counts for nothing: Hugging Face gives the next one, which in a well-formed file is the same.
      const auto size = static_cast<Token>(model_->token_count());
      token.id = highest >= size ? highest + 1 : size;
    }
    highest = std::max(highest, token.id);
    const auto slot = static_cast<std::size_t>(token.id);
    if (slot >= texts_.size()) texts_.resize(slot + 1), is_there_.resize(slot + 1, false);
    texts_[slot] = token.content;
    is_there_[slot] = true;
    if (const auto [it, is_new] = places.emplace(token.content, added_.size()); is_new) {
      added_.push_back(std::move(token));
    } else {
      added_[it->second] = std::move(token);
    }
  }
  is_special_.assign(texts_.size(), false);
  std::vector<huggingface::AddedTokenMatcher::Entry> raw, normalized;
  for (const auto& token : added_) {
    is_special_[static_cast<std::size_t>(token.id)] = token.special;
    if (!token.normalized) {
      raw.push_back({token.content, token});
      continue;
    }
    auto pattern = normalizer_.normalize(token.content);
    if (!pattern) return place.refuse("has \"" + printable(token.content) + "\": " + pattern.error().message);
    texts_[static_cast<std::size_t>(token.id)] = *pattern;  // which is what it decodes to
    normalized.push_back({*std::move(pattern), token});
  }
  raw_ = huggingface::AddedTokenMatcher(std::move(raw));
  normalized_ = huggingface::AddedTokenMatcher(std::move(normalized));
  return {};
}

std::string HuggingFaceTokenizer::digest(const json::object& file) const {
  Sha256 hash;
  hash.field("tokenizer.json").field(model_->digest());
  for (const char* key : {"normalizer", "pre_tokenizer", "post_processor", "decoder"}) hash.field(canonical(value_at(file, key)));
  hash.number(added_.size());
  for (const auto& token : added_) {
    hash.field(token.content).number(static_cast<std::uint64_t>(token.id));
    hash.number((token.single_word ? 1U : 0U) | (token.lstrip ? 2U : 0U) | (token.rstrip ? 4U : 0U) | (token.normalized ? 8U : 0U) | (token.special ? 16U : 0U));
  }
  for (const auto& id : {ids_.bos, ids_.eos}) hash.number(id ? static_cast<std::uint64_t>(*id) + 1 : 0);
  return to_hex(hash.finish());
}

Result<void> HuggingFaceTokenizer::append_pieces(std::string_view text, std::vector<Token>& tokens) const {
  Encoder encoder(*model_, tokens);
  if (pre_tokenizer_.split(text, encoder)) return {};
  if (!encoder.done()) return encoder.done();
  return fail(ErrorCode::invalid_input, "the pre_tokenizer's pattern takes too many steps on a text of " + std::to_string(text.size()) + " bytes");
}

Result<void> HuggingFaceTokenizer::append(std::string_view text, SpecialText special, std::vector<Token>& tokens) const {
  if (const auto valid = utf8::valid_prefix(text); valid < text.size()) {
    return fail(ErrorCode::invalid_input, "text to be encoded is not UTF-8 at byte " + std::to_string(valid + 1));
  }
  const bool is_special_known = special == SpecialText::recognise;
  for (const auto& part : raw_.split(text, is_special_known)) {
    if (part.token) {
      tokens.push_back(*part.token);
      continue;
    }
    std::string buffer;
    std::string_view plain = part.text;
    if (!normalizer_.empty()) {
      auto done = normalizer_.normalize(part.text);
      if (!done) return fail(done.error());
      buffer = *std::move(done);
      plain = buffer;
    }
    for (const auto& piece : normalized_.split(plain, is_special_known)) {
      if (piece.token) {
        tokens.push_back(*piece.token);
      } else if (auto done = append_pieces(piece.text, tokens); !done) {
        return done;
      }
    }
  }
  return {};
}

Result<std::vector<Token>> HuggingFaceTokenizer::encode(std::string_view text, SpecialText special) const {
  std::vector<Token> tokens;
  tokens.reserve(text.size() / 4 + 8);
  if (auto done = append(text, special, tokens); !done) return fail(done.error());
  return tokens;
}

Result<std::vector<Token>> HuggingFaceTokenizer::encode_with_special_tokens(std::string_view text, SpecialText special) const {
  auto tokens = post_processor_.before;
  if (auto done = append(text, special, tokens); !done) return fail(done.error());
  tokens.insert(tokens.end(), post_processor_.behind.begin(), post_processor_.behind.end());
  return tokens;
}

Result<std::string> HuggingFaceTokenizer::decode(std::span<const Token> tokens, bool skips_special) const {
  std::vector<std::string> texts;
  texts.reserve(tokens.size());
  for (const Token token : tokens) {
    const auto id = static_cast<std::size_t>(token);
    if (token < 0 || id >= texts_.size() || !is_there_[id] || (skips_special && is_special_[id])) continue;
    texts.push_back(texts_[id]);
  }
  return decoder_.decode(std::move(texts));
}

Result<std::string> HuggingFaceTokenizer::decode(std::span<const Token> tokens) const { return decode(tokens, false); }

Result<std::string> HuggingFaceTokenizer::decode_without_special(std::span<const Token> tokens) const { return decode(tokens, true); }

std::optional<Token> HuggingFaceTokenizer::special_token(std::string_view text) const {
  const auto found = std::find_if(added_.begin(), added_.end(), [&](const huggingface::AddedToken& token) { return token.content == text; });
  return found == added_.end() ? std::optional<Token>() : found->id;
}

Result<void> HuggingFaceTokenizer::save(const std::filesystem::path& directory) const {
  if (auto done = write_text_file(directory / kFileName, text_); !done) return done;
  const auto text_of = [&](const std::optional<Token>& id) -> json::value {
    if (!id) return nullptr;
    const auto added = std::find_if(added_.begin(), added_.end(), [&](const huggingface::AddedToken& token) { return token.id == *id; });
    return json::value(added == added_.end() ? texts_[static_cast<std::size_t>(*id)] : added->content);
  };
  const json::object config{{"tokenizer_class", "PreTrainedTokenizerFast"}, {"bos_token", text_of(ids_.bos)}, {"eos_token", text_of(ids_.eos)}};
  return write_text_file(directory / kConfigFileName, json::serialize(config) + "\n");
}

}  // namespace pipestill
