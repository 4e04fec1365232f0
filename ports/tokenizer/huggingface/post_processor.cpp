#include "ports/tokenizer/huggingface/post_processor.hpp"

#include <boost/json/array.hpp>

#include "ports/printable.hpp"

namespace pipestill::huggingface {
namespace {

namespace json = boost::json;

Result<Token> token_of(const json::value& value, const JsonPlace& place) {
  if (!value.is_int64() || value.get_int64() < 0 || value.get_int64() >= static_cast<std::int64_t>(kMaxTokens)) return place.refuse("must be a token's id");
  return static_cast<Token>(value.get_int64());
}

/// The ids that a name in a template stands for.
Result<std::vector<Token>> ids_of(const json::object& processor, const std::string& name, const JsonPlace& place) {
  const auto inner = place.key("special_tokens").key(name);
  const auto* all = find_value(processor, "special_tokens");
  const auto* entry = all && all->is_object() ? find_value(all->get_object(), name) : nullptr;
  const auto* ids = entry && entry->is_object() ? find_value(entry->get_object(), "ids") : nullptr;
  if (!ids || !ids->is_array()) return inner.refuse("must be there and have a list \"ids\", since the template names it");
  std::vector<Token> out;
  for (const auto& id : ids->get_array()) {
    const auto token = token_of(id, inner.key("ids"));
    if (!token) return fail(token.error());
    out.push_back(*token);
  }
  return out;
}

Result<PostProcessor> read_template(const json::object& processor, const JsonPlace& place) {
  const auto inner = place.key("single");
  const auto* single = find_value(processor, "single");
  if (!single || !single->is_array()) return inner.refuse("must be a list");
  if (single->get_array().size() > kMaxSteps) return inner.refuse("has more than " + std::to_string(kMaxSteps) + " parts");
  PostProcessor out;
  bool is_behind = false;
  for (std::size_t i = 0; i < single->get_array().size(); ++i) {
    const auto at = inner.item(i);
    const auto& item = single->get_array()[i];
    const auto* part = item.if_object();
    const auto* sequence = part ? find_value(*part, "Sequence") : nullptr;
    const auto* special = part ? find_value(*part, "SpecialToken") : nullptr;
    const auto* named = sequence ? sequence->if_object() : special ? special->if_object() : nullptr;
    if (!named) return at.refuse(R"(must be {"Sequence": {...}} or {"SpecialToken": {...}})");
    const auto name = string_at(*named, "id", at);
    if (!name) return fail(name.error());
    if (sequence) {
      if (*name != "A" || is_behind) return at.refuse("must be the text A, and only once");
      is_behind = true;
      continue;
    }
    const auto ids = ids_of(processor, *name, place);
    if (!ids) return fail(ids.error());
    auto& side = is_behind ? out.behind : out.before;
    side.insert(side.end(), ids->begin(), ids->end());
  }
  if (!is_behind) return inner.refuse("does not hold the text, {\"Sequence\": {\"id\": \"A\"}}");
  return out;
}

Result<PostProcessor> read_pair(const json::object& processor, const JsonPlace& place) {
  PostProcessor out;
  for (const char* key : {"cls", "sep"}) {
    const auto* value = find_value(processor, key);
    const auto* pair = value ? value->if_array() : nullptr;
    if (!pair || pair->size() != 2) return place.key(key).refuse("must be a list of a token's text and its id");
    const auto token = token_of((*pair)[1], place.key(key).item(1));
    if (!token) return fail(token.error());
    (key[0] == 'c' ? out.before : out.behind).push_back(*token);
  }
  return out;
}

}  // namespace

Result<PostProcessor> PostProcessor::parse(const json::value& value, const JsonPlace& place) {
  PostProcessor out;
  if (value.is_null()) return out;
  std::size_t count = 0;
  const auto read = [&](const json::object& object, const std::string& type, const JsonPlace& at) -> Result<void> {
    if (++count > kMaxSteps) return at.refuse("is one step more than the " + std::to_string(kMaxSteps) + " that a sequence may have");
    Result<PostProcessor> step = PostProcessor{};
    if (type == "TemplateProcessing") {
      step = read_template(object, at);
    } else if (type == "RobertaProcessing" || type == "BertProcessing") {
      step = read_pair(object, at);
    } else if (type != "ByteLevel") {
      return at.key("type").refuse("is \"" + printable(type) + "\"; known are TemplateProcessing, RobertaProcessing, BertProcessing, ByteLevel and Sequence");
    }
    if (!step) return fail(step.error());
    out.before.insert(out.before.begin(), step->before.begin(), step->before.end());
    out.behind.insert(out.behind.end(), step->behind.begin(), step->behind.end());
    return {};
  };
  if (auto done = for_each_member(value, place, "processors", read); !done) return fail(done.error());
  return out;
}

}  // namespace pipestill::huggingface
