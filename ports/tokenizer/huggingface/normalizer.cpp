#include "ports/tokenizer/huggingface/normalizer.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <vector>

#include "ports/printable.hpp"
#include "ports/tokenizer/huggingface/unicode_tables.hpp"
#include "ports/tokenizer/huggingface/utf8.hpp"

namespace pipestill::huggingface {
namespace {

namespace json = boost::json;

/// Starters that NFC neither changes nor joins to what stands before them: most of what texts consist of, by blocks.
bool is_settled(char32_t code) {
  static constexpr std::array<unicode::CodeRange, 13> kSettled{{{0x0, 0x2ff}, {0x391, 0x3ce}, {0x400, 0x482}, {0x5d0, 0x5ea}, {0x621, 0x64a},
    {0xe01, 0xe30}, {0x1e00, 0x1eff}, {0x2010, 0x2027}, {0x3041, 0x3096}, {0x30a1, 0x30fa}, {0x3400, 0x4dbf}, {0x4e00, 0x9fff}, {0xac00, 0xd7a3}}};
  return code < 0x300 || unicode::contains(kSettled, code);
}

int combining_class(utf8proc_int32_t code) { return utf8proc_get_property(code)->combining_class; }

/// NFC as utf8proc has it, but for the order of marks (Unicode 16, section 3.11, D109): its own sort takes quadratic time on a text of nothing but marks.
void append_composed(std::string_view text, std::string& out) {
  constexpr auto kOptions = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  constexpr std::size_t kLongest = 4;  // canonical decomposition
  std::vector<utf8proc_int32_t> codes;
  codes.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const auto code = static_cast<utf8proc_int32_t>(utf8::next(text, at));
    std::array<utf8proc_int32_t, kLongest> parts{};
    int ignored = 0;
    const auto count = utf8proc_decompose_char(code, parts.data(), kLongest, kOptions, &ignored);
    if (count < 1 || count > static_cast<utf8proc_ssize_t>(kLongest)) throw std::length_error("utf8proc decomposes a character into more than 4");
    codes.insert(codes.end(), parts.begin(), parts.begin() + count);
  }
  for (auto begin = codes.begin(); begin != codes.end();) {
    const auto end = std::find_if(begin, codes.end(), [](auto code) { return combining_class(code) == 0; });
    if (end - begin > 1) std::stable_sort(begin, end, [](auto a, auto b) { return combining_class(a) < combining_class(b); });
    begin = end == codes.end() ? end : end + 1;
  }
  const auto length = utf8proc_normalize_utf32(codes.data(), static_cast<utf8proc_ssize_t>(codes.size()), kOptions);
  for (utf8proc_ssize_t i = 0; i < length; ++i) utf8::append(out, static_cast<char32_t>(codes[static_cast<std::size_t>(i)]));
}

/// A character that later versions of Unicode reorder or compose and version 9 does not: it stands alone.
bool is_younger_mark(char32_t code) {
  if (code == 0x11930) return true;  // composes with U+11935
  return combining_class(static_cast<utf8proc_int32_t>(code)) != 0 && !unicode::contains(unicode::nonstarter(), code);
}

void append_nfc(std::string_view text, std::string& out) {
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const auto here = at;
    if (!is_younger_mark(utf8::next(text, at))) continue;
    append_composed(text.substr(begin, here - begin), out);
    out += text.substr(here, at - here);
    begin = at;
  }
  append_composed(text.substr(begin), out);
}

bool is_ascii(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= 0x80) return false;
  }
  return true;
}

}  // namespace

std::string normalize_nfc(std::string_view text) {
  if (is_ascii(text)) return std::string(text);
  std::string out;
  out.reserve(text.size());
  std::size_t copied = 0;   // up to here the text is in `out`
  std::size_t settled = 0;  // the settled character before `at`, which marks behind it may change
  for (std::size_t at = 0; at < text.size();) {
    const auto here = at;
    if (is_settled(utf8::next(text, at))) {
      settled = here;
      continue;
    }
    out += text.substr(copied, settled - copied);
    std::size_t end = at;
    while (end < text.size()) {
      auto next = end;
      if (is_settled(utf8::next(text, next))) break;
      end = next;
    }
    append_nfc(text.substr(settled, end - settled), out);
    copied = settled = at = end;
  }
  return out += text.substr(copied);
}

std::string lower_case(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const auto code = utf8::next(text, at);
    if (code == 0x130) {
      out += "i\xcc\x87";  // the one character whose lower case is two
    } else {
      utf8::append(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code))));
    }
  }
  return out;
}

Result<std::string> replace_matches(std::string_view text, const Regex* regex, std::string_view pattern, std::string_view content,
                                    std::size_t max_bytes) {
  std::string out;
  std::size_t copied = 0;
  const auto fits = [&] { return out.size() <= max_bytes && text.size() - copied <= max_bytes - out.size(); };
  const auto replace = [&](std::size_t begin, std::size_t end) {
    out.append(text.substr(copied, begin - copied)).append(content);
    copied = end;
    return fits();
  };
  if (regex) {
    if (!for_each_match(*regex, text, replace) && fits()) {
      return fail(ErrorCode::invalid_input, "the pattern " + printable(regex->pattern()) + " takes too many steps on this text");
    }
  } else if (!pattern.empty()) {
    for (auto at = text.find(pattern); at != std::string_view::npos; at = text.find(pattern, copied)) {
      if (!replace(at, at + pattern.size())) break;
    }
  }
  if (!fits()) {
    return fail(ErrorCode::invalid_input, "the replacement of \"" + printable(regex ? std::string_view(regex->pattern()) : pattern) +
                                              "\" makes a text grow above 64 times its length and 4096 bytes");
  }
  return out += text.substr(copied);
}

Result<Normalizer> Normalizer::parse(const json::value& value, const JsonPlace& place) {
  Normalizer normalizer;
  if (value.is_null()) return normalizer;
  const auto read = [&](const json::object& object, const std::string& type, const JsonPlace& at) -> Result<void> {
    if (normalizer.steps_.size() == kMaxSteps) return at.refuse("is one step more than the " + std::to_string(kMaxSteps) + " that a sequence may have");
    if (type == "NFC") {
      normalizer.steps_.push_back({.kind = Step::Kind::nfc});
    } else if (type == "Lowercase") {
      normalizer.steps_.push_back({.kind = Step::Kind::lowercase});
    } else if (type == "Prepend") {
      auto text = string_at(object, "prepend", at);
      if (!text) return fail(text.error());
      normalizer.steps_.push_back({.kind = Step::Kind::prepend, .content = *std::move(text)});
    } else if (type == "Replace") {
      auto pattern = pattern_at(object, at);
      if (!pattern) return fail(pattern.error());
      auto content = string_at(object, "content", at);
      if (!content) return fail(content.error());
      Step step{.kind = Step::Kind::replace, .pattern = pattern->text, .content = *std::move(content)};
      if (pattern->is_regex) {
        auto regex = Regex::compile(pattern->text);
        if (!regex) return at.key("pattern").refuse("is no regular expression that can be used: " + regex.error().message);
        step.regex = *std::move(regex);
      }
      normalizer.steps_.push_back(std::move(step));
    } else {
      return at.key("type").refuse("is \"" + printable(type) + "\"; known are NFC, Lowercase, Prepend, Replace and Sequence");
    }
    return {};
  };
  if (auto done = for_each_member(value, place, "normalizers", read); !done) return fail(done.error());
  return normalizer;
}

Result<std::string> Normalizer::normalize(std::string_view text) const {
  std::string out(text);
  const auto limit = grown_at_most(text.size());
  for (const auto& step : steps_) {
    switch (step.kind) {
      case Step::Kind::nfc: out = normalize_nfc(out); break;
      case Step::Kind::lowercase: out = lower_case(out); break;
      case Step::Kind::prepend:
        if (!out.empty()) out.insert(0, step.content);
        break;
      case Step::Kind::replace: {
        auto replaced = replace_matches(out, step.regex.get(), step.pattern, step.content, limit);
        if (!replaced) return replaced;
        out = *std::move(replaced);
      }
    }
  }
  return out;
}

}  // namespace pipestill::huggingface
