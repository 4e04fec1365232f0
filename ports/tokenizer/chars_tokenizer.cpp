#include "ports/tokenizer/chars_tokenizer.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <boost/locale/utf.hpp>
#include <set>

#include "ports/printable.hpp"
#include "ports/sha256.hpp"
#include "ports/strict_json.hpp"
#include "ports/text_file.hpp"

namespace pipestill {
namespace {

namespace json = boost::json;
namespace utf = boost::locale::utf;

/// The first character's bytes; empty if the text does not begin with one in UTF-8.
std::string_view first_character(std::string_view text, utf::code_point& code) {
  const char* at = text.data();
  code = utf::utf_traits<char>::decode(at, text.data() + text.size());
  if (code == utf::illegal || code == utf::incomplete) return {};
  return text.substr(0, static_cast<std::size_t>(at - text.data()));
}

std::string character_name(std::string_view character, utf::code_point code) {
  const auto shown = printable(character);
  return shown == character ? fmt::format("'{}' (U+{:04X})", shown, code) : fmt::format("U+{:04X}", code);
}

std::string text_of(const json::string& text) { return {text.data(), text.size()}; }

Result<std::vector<std::string>> parse_specials(const json::value& value, const std::string& place) {
  const json::array* list = value.if_array();
  if (!list) return fail(ErrorCode::invalid_input, place + ": special_tokens must be a list of strings");
  std::vector<std::string> specials;
  for (const json::value& item : *list) {
    if (!item.is_string() || item.get_string().empty()) {
      return fail(ErrorCode::invalid_input,
                  place + ": special_tokens[" + std::to_string(specials.size()) + "] must be a string that is not empty");
    }
    auto text = text_of(item.get_string());
    if (std::find(specials.begin(), specials.end(), text) != specials.end()) {
      return fail(ErrorCode::invalid_input, place + ": special_tokens has \"" + printable(text) + "\" twice");
    }
    specials.push_back(std::move(text));
  }
  return specials;
}

Result<std::vector<std::string>> parse_characters(const json::value& value, const std::string& place) {
  const json::string* list = value.if_string();
  if (!list || list->empty()) return fail(ErrorCode::invalid_input, place + ": characters must be a string that is not empty");
  std::vector<std::string> characters;
  std::set<std::string_view> seen;
  for (std::string_view rest(list->data(), list->size()); !rest.empty();) {
    utf::code_point code;
    const auto character = first_character(rest, code);
    if (character.empty()) return fail(ErrorCode::invalid_input, place + ": characters is not UTF-8");
    if (!seen.insert(character).second) {
      return fail(ErrorCode::invalid_input, place + ": characters has " + character_name(character, code) + " twice");
    }
    characters.emplace_back(character);
    rest.remove_prefix(character.size());
  }
  return characters;
}

}  // namespace

CharsTokenizer::CharsTokenizer(std::vector<std::string> specials, std::string eos, std::vector<std::string> characters)
    : specials_(std::move(specials), 0), eos_(std::move(eos)), characters_(std::move(characters)) {
  auto token = static_cast<Token>(specials_.texts().size());
  for (const auto& character : characters_) token_of_.emplace(character, token++);
}

Result<std::shared_ptr<const CharsTokenizer>> CharsTokenizer::parse(std::string_view json_text, const std::string& place) {
  const auto document = parse_strict_json(json_text, place);
  if (!document) return fail(document.error());
  const json::object* object = document->if_object();
  if (!object) return fail(ErrorCode::invalid_input, place + ": expected a JSON object");
  for (const auto& [key, value] : *object) {
    if (key != "type" && key != "special_tokens" && key != "eos_token" && key != "characters") {
      return fail(ErrorCode::invalid_input, place + ": unknown key \"" + printable(key) + "\"; accepted: type, special_tokens, eos_token, characters");
    }
  }
  for (const char* key : {"type", "special_tokens", "eos_token", "characters"}) {
    if (!object->contains(key)) return fail(ErrorCode::invalid_input, place + ": the key \"" + key + "\" is missing");
  }
  if (object->at("type") != "chars") return fail(ErrorCode::invalid_input, place + ": type must be \"chars\"");
  auto specials = parse_specials(object->at("special_tokens"), place);
  if (!specials) return fail(std::move(specials).error());
  const json::string* eos = object->at("eos_token").if_string();
  if (!eos || std::find(specials->begin(), specials->end(), text_of(*eos)) == specials->end()) {
    return fail(ErrorCode::invalid_input, place + ": eos_token must be one of special_tokens");
  }
  auto characters = parse_characters(object->at("characters"), place);
  if (!characters) return fail(std::move(characters).error());
  return std::shared_ptr<const CharsTokenizer>(new CharsTokenizer(std::move(*specials), text_of(*eos), std::move(*characters)));
}

Result<void> CharsTokenizer::append_plain(std::string_view text, std::vector<Token>& tokens) const {
  for (std::string_view rest = text; !rest.empty();) {
    utf::code_point code;
    const auto character = first_character(rest, code);
    if (character.empty()) {
      return fail(ErrorCode::invalid_input, "text to be encoded is not UTF-8 at byte " + std::to_string(text.size() - rest.size() + 1));
    }
    const auto found = token_of_.find(character);
    if (found == token_of_.end())
      return fail(ErrorCode::invalid_input, "the vocabulary has no character " + character_name(character, code));
    tokens.push_back(found->second);
    rest.remove_prefix(character.size());
  }
  return {};
}

Result<std::vector<Token>> CharsTokenizer::encode(std::string_view text, SpecialText special) const {
  std::vector<Token> tokens;
  tokens.reserve(text.size());
  const auto pieces = special == SpecialText::recognise ? specials_.split(text) : std::vector<SpecialTokens::Piece>{{text, std::nullopt}};
  for (const auto& piece : pieces) {
    if (piece.special) {
      tokens.push_back(*piece.special);
    } else if (auto appended = append_plain(piece.text, tokens); !appended) {
      return fail(std::move(appended).error());
    }
  }
  return tokens;
}

Result<std::string> CharsTokenizer::decode(std::span<const Token> tokens) const {
  std::string text;
  text.reserve(tokens.size());
  for (const Token token : tokens) {
    const std::size_t character = static_cast<std::size_t>(token) - specials_.texts().size();  // wraps for what is no character
    if (const std::string* special = specials_.text(token)) {
      text += *special;
    } else if (token >= 0 && character < characters_.size()) {
      text += characters_[character];
    } else {
      return fail(ErrorCode::invalid_input, "token " + std::to_string(token) + " is outside the vocabulary, which has the ids 0 to " +
                                                std::to_string(vocab_size() - 1));
    }
  }
  return text;
}

std::string CharsTokenizer::fingerprint() const {
  Sha256 hash;
  hash.field("chars").number(specials_.texts().size());
  for (const auto& text : specials_.texts()) hash.field(text);
  hash.field(eos_).number(characters_.size());
  for (const auto& character : characters_) hash.field(character);
  return to_hex(hash.finish());
}

Result<void> CharsTokenizer::save(const std::filesystem::path& directory) const {
  json::array specials;
  for (const auto& text : specials_.texts()) specials.emplace_back(text);
  std::string characters;
  for (const auto& character : characters_) characters += character;
  const json::object document{{"type", "chars"}, {"special_tokens", std::move(specials)}, {"eos_token", eos_}, {"characters", characters}};
  return write_text_file(directory / kFileName, json::serialize(document) + "\n");
}

}  // namespace pipestill
