#include "ports/dataset/jsonl_store.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/parser.hpp>
#include <cerrno>
#include <string_view>
#include <system_error>

#include "ports/sha256.hpp"

namespace pipestill {
namespace {

std::string last_error() { return std::generic_category().message(errno); }

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r") == std::string_view::npos; }

/// Reads until `size` bytes are there or the file ends.
Result<std::size_t> read_at(int file, char* to, std::size_t size, std::uint64_t offset) {
  std::size_t total = 0;
  while (total < size) {
    const ssize_t n = ::pread(file, to + total, size - total, static_cast<off_t>(offset + total));
    if (n == 0) break;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(ErrorCode::backend_failed, last_error());
    total += static_cast<std::size_t>(n);
  }
  return total;
}

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

JsonlStore::JsonlStore(std::filesystem::path path, int file, Limits limits) : path_(std::move(path)), file_(file), limits_(limits) {}

JsonlStore::~JsonlStore() { ::close(file_); }

Result<std::unique_ptr<JsonlStore>> JsonlStore::open(const std::filesystem::path& path, Limits limits) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // without O_NONBLOCK a named pipe would hang here
  if (file < 0) return fail(ErrorCode::invalid_input, "cannot open the dataset " + path.string() + ": " + last_error());
  std::unique_ptr<JsonlStore> store(new JsonlStore(path, file, limits));
  struct stat facts {};
  if (::fstat(file, &facts) != 0 || !S_ISREG(facts.st_mode)) {
    return fail(ErrorCode::invalid_input, "the dataset " + path.string() + " is not a regular file; its rows are read by position");
  }
  if (auto scanned = store->scan(); !scanned) return fail(std::move(scanned).error());
  return store;
}

Result<void> JsonlStore::scan() {
  Sha256 hash;
  std::vector<char> buffer(std::size_t{1} << 16);
  std::uint64_t line_begin = 0, blank_lines = 0;
  bool is_line_blank = true;
  const auto end_line = [&](std::uint64_t next_begin) {
    if (is_line_blank) {
      ++blank_lines;
    } else {
      const std::uint64_t known = gaps_.empty() ? 0 : gaps_.back().blank_lines;
      if (blank_lines != known) gaps_.push_back({offsets_.size(), blank_lines});
      offsets_.push_back(line_begin);
    }
    line_begin = next_begin;
    is_line_blank = true;
  };
  for (;;) {
    const auto n = read_at(file_, buffer.data(), buffer.size(), bytes_);
    if (!n) return fail(ErrorCode::invalid_input, "cannot read the dataset " + path_.string() + ": " + n.error().message);
    if (*n == 0) break;
    const std::string_view block(buffer.data(), *n);
    hash.update(block);
    for (std::size_t from = 0; from < block.size();) {
      const std::size_t newline = block.find('\n', from);
      is_line_blank = is_line_blank && is_blank(block.substr(from, newline - from));
      if (newline == std::string_view::npos) break;
      from = newline + 1;
      end_line(bytes_ + from);
    }
    bytes_ += *n;
  }
  end_line(bytes_);  // the last line need not end in a newline
  offsets_.shrink_to_fit();
  fingerprint_ = to_hex(hash.finish());
  return {};
}

std::string JsonlStore::where(std::uint64_t index) const {
  const auto after = std::upper_bound(gaps_.begin(), gaps_.end(), index, [](std::uint64_t row, const Gap& gap) { return row < gap.row; });
  const std::uint64_t blank_lines = after == gaps_.begin() ? 0 : std::prev(after)->blank_lines;
  return path_.string() + ":" + std::to_string(index + blank_lines + 1);
}

Result<std::string> JsonlStore::read_line(std::uint64_t index) const {
  const std::uint64_t begin = offsets_[index];
  const std::uint64_t next = index + 1 < offsets_.size() ? offsets_[index + 1] : bytes_;
  // Blank lines may follow before the next row, so the line's end has to be looked for: two bytes more than a row may have hold its CR LF.
  std::string line(std::min<std::uint64_t>(next - begin, limits_.max_row_bytes + 2), '\0');
  const auto n = read_at(file_, line.data(), line.size(), begin);
  if (!n) return fail(ErrorCode::backend_failed, where(index) + ": cannot read the row: " + n.error().message);
  if (*n != line.size()) return fail(ErrorCode::backend_failed, where(index) + ": the file has become shorter since it was opened");
  line.resize(std::min(line.find('\n'), line.size()));
  if (line.ends_with('\r')) line.pop_back();
  if (line.size() > limits_.max_row_bytes) {
    return fail(ErrorCode::invalid_input,
                where(index) + ": the row is longer than the " + std::to_string(limits_.max_row_bytes) + " bytes that a row may have");
  }
  return line;
}

Result<DatasetRow> JsonlStore::row(std::uint64_t index) {
  if (index >= offsets_.size()) return fail(ErrorCode::internal, path_.string() + " has no row " + std::to_string(index));
  auto line = read_line(index);
  if (!line) return fail(std::move(line).error());
  boost::json::parse_options options;
  options.max_depth = limits_.max_depth;
  boost::json::parser parser({}, options);
  boost::json::error_code ec;
  const std::size_t parsed = parser.write_some(line->data(), line->size(), ec);
  if (!ec && parsed < line->size()) ec = boost::json::error::extra_data;
  if (ec == boost::json::error::too_deep) {
    return fail(ErrorCode::invalid_input,
                where(index) + ": the row nests deeper than the " + std::to_string(limits_.max_depth) + " levels that a row may have");
  }
  if (ec)
    return fail(ErrorCode::invalid_input, where(index) + ": not JSON in UTF-8: " + ec.message() + " at byte " + std::to_string(parsed + 1));
  boost::json::value value = parser.release();
  if (!value.is_object()) return fail(ErrorCode::invalid_input, where(index) + ": a row is a JSON object, not " + kind_name(value.kind()));
  return DatasetRow{std::move(value.get_object()), where(index)};
}

}  // namespace pipestill
