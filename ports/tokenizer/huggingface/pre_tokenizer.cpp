#include "ports/tokenizer/huggingface/pre_tokenizer.hpp"

#include <array>

#include "ports/printable.hpp"
#include "ports/tokenizer/huggingface/byte_alphabet.hpp"
#include "ports/tokenizer/huggingface/unicode_tables.hpp"
#include "ports/tokenizer/huggingface/utf8.hpp"

namespace pipestill::huggingface {
namespace {

namespace json = boost::json;

// What ByteLevel cuts at, from GPT-2's published encoder (openai/gpt-2, src/encoder.py).
constexpr std::string_view kGpt2Pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

bool is_punctuation(char32_t code) {
  if (code < 0x80) return (code >= '!' && code <= '/') || (code >= ':' && code <= '@') || (code >= '[' && code <= '`') || (code >= '{' && code <= '~');
  return unicode::contains(unicode::punctuation(), code);
}

}  // namespace

/// Takes matches and what lies between them, in order, joins them by the behavior, and hands on what comes out.
class PreTokenizer::Cutter {
 public:
  Cutter(const PreTokenizer& owner, std::size_t next, std::string_view text, PieceSink& sink, Behavior behavior, bool invert)
      : owner_(owner), next_(next), text_(text), sink_(sink), behavior_(behavior), invert_(invert) {}

  bool match(std::size_t begin, std::size_t end) {
    if (seen_ < begin && !add(seen_, begin, false)) return false;
    seen_ = end;
    return add(begin, end, true);
  }
  bool finish() {
    if (seen_ < text_.size() && !add(seen_, text_.size(), false)) return false;
    return !has_pending_ || hand_on(begin_, end_);
  }

 private:
  bool hand_on(std::size_t begin, std::size_t end) { return begin == end || owner_.run(next_, text_.substr(begin, end - begin), sink_); }

  bool add(std::size_t begin, std::size_t end, bool is_match) {
    is_match = is_match != invert_;
    if (behavior_ == Behavior::isolated) return hand_on(begin, end);
    if (behavior_ == Behavior::removed) return is_match || hand_on(begin, end);
    const bool joins = behavior_ == Behavior::contiguous             ? is_match == was_match_
                       : behavior_ == Behavior::merged_with_previous ? is_match && !was_match_
                                                                     : !is_match && was_match_;
    was_match_ = is_match;
    if (has_pending_ && joins) {
      end_ = end;
      return true;
    }
    if (has_pending_ && !hand_on(begin_, end_)) return false;
    has_pending_ = true;
    begin_ = begin, end_ = end;
    return true;
  }

  const PreTokenizer& owner_;
  std::size_t next_;
  std::string_view text_;
  PieceSink& sink_;
  Behavior behavior_;
  bool invert_;
  std::size_t seen_ = 0, begin_ = 0, end_ = 0;
  bool has_pending_ = false, was_match_ = false;
};

bool PreTokenizer::run(std::size_t index, std::string_view text, PieceSink& sink) const {
  if (index == steps_.size()) return text.empty() || sink.add_piece(text);
  const auto& step = steps_[index];
  const auto by_characters = [&](const auto& is_match) {
    Cutter cutter(*this, index + 1, text, sink, step.behavior, step.invert);
    for (std::size_t at = 0; at < text.size();) {
      const auto begin = at;
      if (is_match(utf8::next(text, at)) && !cutter.match(begin, at)) return false;
    }
    return cutter.finish();
  };
  switch (step.kind) {
    case Step::Kind::split_regex: {
      Cutter cutter(*this, index + 1, text, sink, step.behavior, step.invert);
      return for_each_match(*step.regex, text, [&](std::size_t begin, std::size_t end) { return cutter.match(begin, end); }) && cutter.finish();
    }
    case Step::Kind::split_text: {
      Cutter cutter(*this, index + 1, text, sink, step.behavior, step.invert);
      for (auto at = step.text.empty() ? std::string_view::npos : text.find(step.text); at != std::string_view::npos;) {
        if (!cutter.match(at, at + step.text.size())) return false;
        at = text.find(step.text, at + step.text.size());
      }
      return cutter.finish();
    }
    case Step::Kind::split_numbers: return by_characters([](char32_t code) { return unicode::contains(unicode::number(), code); });
    case Step::Kind::split_punctuation: return by_characters(is_punctuation);
    case Step::Kind::prefix_space:
      if (text.empty() || text.front() == ' ') return run(index + 1, text, sink);
      return run(index + 1, " " + std::string(text), sink);
    case Step::Kind::map_bytes: return run(index + 1, map_bytes(text), sink);
    case Step::Kind::unmap_bytes: {
      const auto bytes = unmap_bytes(text);
      return bytes && run(index + 1, *bytes, sink);  // always there: what follows map_bytes only cuts
    }
  }
  return false;
}

Result<void> PreTokenizer::add(const json::object& object, const std::string& type, const JsonPlace& place) {
  const auto behavior_of = [&](std::optional<std::string> otherwise) -> Result<Behavior> {
    const auto name = string_at(object, "behavior", place, std::move(otherwise));
    if (!name) return fail(name.error());
    static constexpr std::array<std::pair<const char*, Behavior>, 5> kBehaviors{{{"Removed", Behavior::removed}, {"Isolated", Behavior::isolated},
      {"Contiguous", Behavior::contiguous}, {"MergedWithPrevious", Behavior::merged_with_previous}, {"MergedWithNext", Behavior::merged_with_next}}};
    for (const auto& [text, behavior] : kBehaviors) {
      if (*name == text) return behavior;
    }
    return place.key("behavior").refuse("is \"" + printable(*name) + "\"; known are Removed, Isolated, Contiguous, MergedWithPrevious and MergedWithNext");
  };
  if (steps_.size() >= kMaxSteps) return place.refuse("is one step more than the " + std::to_string(kMaxSteps) + " that a sequence may have");
  if (type == "Split") {
    auto pattern = pattern_at(object, place);
    if (!pattern) return fail(pattern.error());
    const auto behavior = behavior_of({});
    if (!behavior) return fail(behavior.error());
    const auto invert = bool_at(object, "invert", place);
    if (!invert) return fail(invert.error());
    Step step{.kind = Step::Kind::split_text, .behavior = *behavior, .invert = *invert, .text = pattern->text};
    if (pattern->is_regex) {
      auto regex = Regex::compile(pattern->text);
      if (!regex) return place.key("pattern").refuse("is no regular expression that can be used: " + regex.error().message);
      step.kind = Step::Kind::split_regex, step.regex = *std::move(regex);
    }
    steps_.push_back(std::move(step));
  } else if (type == "ByteLevel") {
    const auto has_prefix = bool_at(object, "add_prefix_space", place), has_regex = bool_at(object, "use_regex", place, true);
    if (!has_prefix || !has_regex) return fail(has_prefix ? has_regex.error() : has_prefix.error());
    if (*has_prefix) steps_.push_back({.kind = Step::Kind::prefix_space});
    if (*has_regex) {
      auto regex = Regex::compile(kGpt2Pattern);
      if (!regex) return fail(ErrorCode::internal, "ByteLevel's pattern: " + regex.error().message);
      steps_.push_back({.kind = Step::Kind::split_regex, .regex = *std::move(regex)});
    }
    steps_.push_back({.kind = Step::Kind::map_bytes});
    is_byte_level_ = true;
  } else if (type == "Digits") {
    const auto is_each = bool_at(object, "individual_digits", place, false);
    if (!is_each) return fail(is_each.error());
    steps_.push_back({.kind = Step::Kind::split_numbers, .behavior = *is_each ? Behavior::isolated : Behavior::contiguous});
  } else if (type == "Punctuation") {
    const auto behavior = behavior_of("Isolated");
    if (!behavior) return fail(behavior.error());
    steps_.push_back({.kind = Step::Kind::split_punctuation, .behavior = *behavior});
  } else {
    return place.key("type").refuse("is \"" + printable(type) + "\"; known are Split, ByteLevel, Digits, Punctuation and Sequence");
  }
  return {};
}

Result<PreTokenizer> PreTokenizer::parse(const json::value& value, const JsonPlace& place) {
  PreTokenizer out;
  if (value.is_null()) return out;
  const auto read = [&](const json::object& object, const std::string& type, const JsonPlace& at) { return out.add(object, type, at); };
  if (auto done = for_each_member(value, place, "pretokenizers", read); !done) return fail(done.error());
  // Bytes need no alphabet unless something looks at the text behind it.
  if (!out.steps_.empty() && out.steps_.back().kind == Step::Kind::map_bytes) {
    out.steps_.pop_back();
  } else if (out.is_byte_level_) {
    out.steps_.push_back({.kind = Step::Kind::unmap_bytes});
  }
  return out;
}

}  // namespace pipestill::huggingface
