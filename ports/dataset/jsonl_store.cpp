#include "ports/dataset/jsonl_store.hpp"

#include <algorithm>
#include <boost/json/value.hpp>
#include <utility>

#include "ports/strict_json.hpp"

namespace pipestill {
namespace {

const char* kind_name(boost::json::kind kind) {
  switch (kind) {
    case boost::json::kind::null:
      return "null";
    case boost::json::kind::bool_:
      return "a boolean";
    case boost::json::kind::string:
      return "a string";
    case boost::json::kind::array:
      return "an array";
    case boost::json::kind::object:
      return "an object";
    default:
      return "a number";
  }
}

}  // namespace

JsonlStore::JsonlStore(std::filesystem::path path, const DatasetOptions& options, IndexedText lines)
    : path_(std::move(path)), max_row_bytes_(options.max_row_bytes), max_depth_(options.max_depth), lines_(std::move(lines)) {}

Result<std::unique_ptr<JsonlStore>> JsonlStore::open(const std::filesystem::path& path, const DatasetOptions& options) {
  auto lines = open_indexed_text(path, text_format(path).value_or(TextFormat::plain), options);
  if (!lines) return fail(std::move(lines.error()));
  return std::unique_ptr<JsonlStore>(new JsonlStore(path, options, *std::move(lines)));
}

std::string JsonlStore::where(std::uint64_t index) const { return path_.string() + ":" + std::to_string(lines_.index.line(index)); }

Result<std::string> JsonlStore::read_line(std::uint64_t index) const {
  const auto facts = lines_.text.facts();
  if (!facts || facts->size != lines_.facts.size || facts->modified != lines_.facts.modified) {
    return fail(ErrorCode::backend_failed, where(index) + ": the file has changed since it was opened");
  }
  const auto place = lines_.index.place(index);
  if (!place) return fail(place.error().code, where(index) + ": " + place.error().message);
  // Blank lines may follow before the next row, so the line's end has to be looked for: two bytes more than a row may have hold its CR LF.
  std::string line(std::min<std::uint64_t>(place->next - place->begin, max_row_bytes_ + 2), '\0');
  const auto n = lines_.text.read_at(line.data(), line.size(), place->begin);
  if (!n) return fail(ErrorCode::backend_failed, where(index) + ": cannot read the row: " + n.error().message);
  if (*n != line.size()) return fail(ErrorCode::backend_failed, where(index) + ": the file has become shorter since it was opened");
  line.resize(std::min(line.find('\n'), line.size()));
  if (line.ends_with('\r')) line.pop_back();
  if (line.size() > max_row_bytes_) {
    return fail(ErrorCode::invalid_input,
                where(index) + ": the row is longer than the " + std::to_string(max_row_bytes_) + " bytes that a row may have");
  }
  return line;
}

Result<DatasetRow> JsonlStore::row(std::uint64_t index) {
  if (index >= size()) return fail(ErrorCode::internal, path_.string() + " has no row " + std::to_string(index));
  auto line = read_line(index);
  if (!line) return fail(std::move(line).error());
  auto value = parse_strict_json_line(*line, path_.string(), {.line = lines_.index.line(index), .max_bytes = max_row_bytes_, .max_depth = max_depth_});
  if (!value) return fail(std::move(value).error());
  if (!value->is_object()) return fail(ErrorCode::invalid_input, where(index) + ": a row is a JSON object, not " + kind_name(value->kind()));
  return DatasetRow{std::move(value->get_object()), where(index)};
}

}  // namespace pipestill
