#include "ports/tokenizer/huggingface/token_decoder.hpp"

#include <cctype>

#include "ports/printable.hpp"
#include "ports/tokenizer/huggingface/byte_alphabet.hpp"
#include "ports/tokenizer/huggingface/normalizer.hpp"
#include "ports/tokenizer/huggingface/utf8.hpp"

namespace pipestill::huggingface {
namespace {

namespace json = boost::json;

constexpr const char* kReplacementCharacter = "\xef\xbf\xbd";

/// The bytes of all texts together are one text: a character may be spread over tokens. A text with a character outside the alphabet stands for itself.
std::string join_bytes(const std::vector<std::string>& texts) {
  std::string bytes;
  for (const auto& text : texts) bytes += unmap_bytes(text).value_or(text);
  return utf8::lossy(bytes);
}

/// The byte of <0xNN>; -1 for any other text.
int fallback_byte(const std::string& text) {
  const auto is_digit = [&](std::size_t i) { return std::isxdigit(static_cast<unsigned char>(text[i])) != 0; };
  if (text.size() != 6 || !text.starts_with("<0x") || text.back() != '>' || !is_digit(3) || !is_digit(4)) return -1;
  return std::stoi(text.substr(3, 2), nullptr, 16);
}

/// A run of bytes is a text if it is UTF-8, else as many replacement characters as it has bytes.
std::vector<std::string> join_fallback_bytes(const std::vector<std::string>& texts) {
  std::vector<std::string> out;
  std::string run;
  const auto end_run = [&] {
    if (run.empty()) return;
    if (utf8::valid_prefix(run) == run.size()) {
      out.push_back(run);
    } else {
      out.insert(out.end(), run.size(), kReplacementCharacter);
    }
    run.clear();
  };
  for (const auto& text : texts) {
    if (const int byte = fallback_byte(text); byte >= 0) {
      run += static_cast<char>(byte);
    } else {
      end_run();
      out.push_back(text);
    }
  }
  end_run();
  return out;
}

std::string fuse(const std::vector<std::string>& texts) {
  std::string all;
  for (const auto& text : texts) all += text;
  return all;
}

/// `content` is one character.
std::string strip(const std::string& text, std::string_view content, std::size_t start, std::size_t stop) {
  std::string_view rest = text;
  for (; start > 0 && rest.starts_with(content); --start) rest.remove_prefix(content.size());
  for (; stop > 0 && rest.ends_with(content); --stop) rest.remove_suffix(content.size());
  return std::string(rest);
}

Result<std::size_t> count_at(const json::object& object, std::string_view key, const JsonPlace& place) {
  const auto* value = find_value(object, key);
  if (!value || !value->is_int64() || value->get_int64() < 0) return place.key(key).refuse("must be a number of characters, 0 or more");
  return static_cast<std::size_t>(value->get_int64());
}

}  // namespace

Result<void> TokenDecoder::add(const json::object& object, const std::string& type, const JsonPlace& place) {
  if (steps_.size() >= kMaxSteps) return place.refuse("is one step more than the " + std::to_string(kMaxSteps) + " that a sequence may have");
  if (type == "ByteLevel") {
    steps_.push_back({.kind = Step::Kind::byte_level});
  } else if (type == "ByteFallback") {
    steps_.push_back({.kind = Step::Kind::byte_fallback});
  } else if (type == "Fuse") {
    steps_.push_back({.kind = Step::Kind::fuse});
  } else if (type == "Replace") {
    auto pattern = pattern_at(object, place);
    if (!pattern) return fail(pattern.error());
    auto content = string_at(object, "content", place);
    if (!content) return fail(content.error());
    Step step{.kind = Step::Kind::replace, .pattern = pattern->text, .content = *std::move(content)};
    if (pattern->is_regex) {
      auto regex = Regex::compile(pattern->text);
      if (!regex) return place.key("pattern").refuse("is no regular expression that can be used: " + regex.error().message);
      step.regex = *std::move(regex);
    }
    steps_.push_back(std::move(step));
  } else if (type == "Strip") {
    auto content = string_at(object, "content", place);
    if (!content) return fail(content.error());
    std::size_t length = 0;
    if (!content->empty()) utf8::next(*content, length);
    if (content->empty() || length != content->size()) return place.key("content").refuse("must be one character");
    const auto start = count_at(object, "start", place), stop = count_at(object, "stop", place);
    if (!start || !stop) return fail(start ? stop.error() : start.error());
    steps_.push_back({.kind = Step::Kind::strip, .content = *std::move(content), .start = *start, .stop = *stop});
  } else {
    return place.key("type").refuse("is \"" + printable(type) + "\"; known are ByteLevel, Replace, ByteFallback, Fuse, Strip and Sequence");
  }
  return {};
}

Result<TokenDecoder> TokenDecoder::parse(const json::value& value, const JsonPlace& place) {
  TokenDecoder out;
  if (value.is_null()) return out;
  out.is_there_ = true;
  const auto read = [&](const json::object& object, const std::string& type, const JsonPlace& at) { return out.add(object, type, at); };
  if (auto done = for_each_member(value, place, "decoders", read); !done) return fail(done.error());
  return out;
}

Result<std::string> TokenDecoder::decode(std::vector<std::string> texts) const {
  if (!is_there_) {
    std::string text;
    for (std::size_t i = 0; i < texts.size(); ++i) text.append(i > 0 ? " " : "").append(texts[i]);
    return text;
  }
  std::size_t bytes = 0;
  for (const auto& text : texts) bytes += text.size();
  const auto limit = grown_at_most(bytes);
  for (const auto& step : steps_) {
    switch (step.kind) {
      case Step::Kind::byte_level: texts = {join_bytes(texts)}; break;
      case Step::Kind::byte_fallback: texts = join_fallback_bytes(texts); break;
      case Step::Kind::fuse: texts = {fuse(texts)}; break;
      case Step::Kind::replace:
        bytes = 0;
        for (auto& text : texts) {
          auto replaced = replace_matches(text, step.regex.get(), step.pattern, step.content, limit - bytes);
          if (!replaced) return replaced;
          text = *std::move(replaced);
          bytes += text.size();
        }
        break;
      case Step::Kind::strip:
        for (auto& text : texts) text = strip(text, step.content, step.start, step.stop);
    }
  }
  return fuse(texts);
}

}  // namespace pipestill::huggingface
