#include "ports/tokenizer/special_ids.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <system_error>

#include "ports/strict_json.hpp"
#include "ports/text_file.hpp"

namespace pipestill {
namespace {

namespace json = boost::json;
using FindToken = std::function<std::optional<Token>(std::string_view)>;

/// Null if the file is not there.
Result<json::value> read_object(const std::filesystem::path& path) {
  std::error_code ec;
  if (!std::filesystem::is_regular_file(path, ec)) return json::value(nullptr);
  const auto text = read_text_file(path);
  if (!text) return fail(text.error());
  auto value = parse_strict_json(*text, path.string(), std::size_t{32} << 20);
  if (value && !value->is_object()) return fail(ErrorCode::invalid_input, path.string() + ": expected a JSON object");
  return value;
}

Result<std::optional<Token>> by_text(const json::value& value, const FindToken& find, const std::string& place) {
  if (value.is_null()) return std::optional<Token>();
  const auto* object = value.if_object();
  const auto* content = object ? object->if_contains("content") : &value;
  if (!content || !content->is_string()) return fail(ErrorCode::invalid_input, place + " must be a token's text, an object with the key content, or null");
  return find(std::string_view(content->get_string().data(), content->get_string().size()));
}

Result<std::optional<Token>> by_id(const json::value& value, const std::string& place) {
  const auto* list = value.if_array();
  const auto& id = list && !list->empty() ? list->front() : value;
  if (id.is_null()) return std::optional<Token>();
  if (!id.is_int64() || id.get_int64() < 0 || id.get_int64() > 0x7fffffff) return fail(ErrorCode::invalid_input, place + " must be a token's id, a list of ids, or null");
  return std::optional(static_cast<Token>(id.get_int64()));
}

}  // namespace

Result<SpecialIds> read_special_ids(const std::filesystem::path& directory, const FindToken& find) {
  SpecialIds ids;
  bool has_bos = false, has_eos = false;
  for (const char* file : {"tokenizer_config.json", "special_tokens_map.json", "generation_config.json", "config.json"}) {
    const auto path = directory / file;
    const auto document = read_object(path);
    if (!document) return fail(document.error());
    const auto* object = document->if_object();
    if (!object) continue;
    const bool is_by_text = file[0] == 't' || file[0] == 's';
    const auto read = [&](const std::string& name, bool& has, std::optional<Token>& id) -> Result<void> {
      const auto key = name + (is_by_text ? "_token" : "_token_id");
      const auto* value = object->if_contains(key);
      if (has || !value) return {};
      const auto place = path.string() + ": " + key;
      const auto found = is_by_text ? by_text(*value, find, place) : by_id(*value, place);
      if (!found) return fail(found.error());
      has = true;
      id = *found;
      return {};
    };
    if (auto done = read("bos", has_bos, ids.bos); !done) return fail(done.error());
    if (auto done = read("eos", has_eos, ids.eos); !done) return fail(done.error());
  }
  return ids;
}

}  // namespace pipestill
