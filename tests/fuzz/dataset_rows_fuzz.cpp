// A dataset of JSON Lines: its rows, the conversations in them, and the index that a second opening finds in the cache.
#include <fstream>
#include <string>
#include <string_view>

#include "ports/dataset/conversation.hpp"
#include "ports/dataset/dataset_factory.hpp"
#include "ports/sha256.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace {

using namespace pipestill;
using pipestill::fuzz::require;

/// Lines with anything in them, found in the slow and obvious way.
std::size_t count_rows(std::string_view text) {
  std::size_t rows = 0;
  while (!text.empty()) {
    const auto end = text.find('\n');
    const auto line = text.substr(0, end);
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) ++rows;
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return rows;
}

template <class T>
void require_answer(const Result<T>& result, std::string_view place) {
  if (result) return;
  fuzz::require_sound_refusal(result.error());
  require(result.error().message.starts_with(place), "a refused row is named");
}

}  // namespace

PIPESTILL_FUZZ_TARGET(dataset_rows) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto path = fuzz::scratch_directory() / "rows.jsonl";
  std::ofstream(path, std::ios::binary) << text;
  const DatasetOptions options{.cache = fuzz::scratch_directory() / "cache", .max_row_bytes = 512, .max_depth = 16};
  const auto first = open_dataset(path, options);
  const auto again = open_dataset(path, options);  // by the index that the first one left
  require(first.has_value() && again.has_value(), "any text is a dataset");
  require((*first)->size() == count_rows(text), "every line that is not blank is a row");
  require((*again)->size() == (*first)->size(), "the cache has the same rows");
  require((*first)->fingerprint() == sha256_hex(text) && (*again)->fingerprint() == (*first)->fingerprint(), "the fingerprint is that of the text");
  for (std::uint64_t i = 0; i < (*first)->size(); ++i) {
    const auto row = (*first)->row(i), same = (*again)->row(i);
    require_answer(row, path.string() + ":");
    require(row.has_value() == same.has_value(), "the cache has the same row");
    if (!row) continue;
    require(row->where == same->where && row->fields == same->fields, "the cache has the same row at the same place");
    require_answer(prompt_conversation(*row), row->where);
    require_answer(supervised_conversation(*row), row->where);
  }
  return 0;
}
