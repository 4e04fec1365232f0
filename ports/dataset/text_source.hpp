#pragma once
// Where the lines of a dataset come from: a file as it is, what was compressed into it, or the rows of a database.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "graph/base/error.hpp"
#include "ports/dataset/file_handle.hpp"
#include "ports/sha256.hpp"

namespace pipestill {

enum class TextFormat { plain, gzip, zstd, sqlite };

/// By the file's name: *.jsonl, *.jsonl.gz, *.jsonl.zst, *.sqlite, *.db. Empty: none of them.
[[nodiscard]] std::optional<TextFormat> text_format(const std::filesystem::path& path);

/// Takes the next piece of a text; an error of its own ends the reading with it.
using TextSink = std::function<Result<void>(std::string_view piece)>;

/// Reads a file from its beginning to its end, and hashes it on the way.
class SourceReader {
 public:
  SourceReader(const FileHandle& file, std::filesystem::path path);
  /// The next piece, valid until the next call; empty at the end.
  [[nodiscard]] Result<std::string_view> next();
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] std::string name() const { return path_.string(); }
  /// Of all bytes; once, at the end.
  [[nodiscard]] Sha256Digest hash() { return hash_.finish(); }

 private:
  const FileHandle& file_;
  std::filesystem::path path_;
  std::string buffer_;
  std::uint64_t bytes_ = 0;
  Sha256 hash_;
};

/// The source's own bytes.
[[nodiscard]] Result<void> read_plain_text(SourceReader& source, const TextSink& sink);
/// What all members (RFC 1952) or frames (RFC 8878) hold, one behind the other. A file that is damaged, cut off, or holds anything else is
/// ErrorCode::invalid_input, naming it and the place. A zstd frame may ask for a window of 128 MiB at most.
[[nodiscard]] Result<void> read_gzip_text(SourceReader& source, const TextSink& sink);
[[nodiscard]] Result<void> read_zstd_text(SourceReader& source, const TextSink& sink);

/// What is read from a database: the table's rows by rowid, or a query's in the order of its ORDER BY.
struct SqliteSelection {
  std::string table, query;  ///< one of the two
};
/// One JSON object a row: the columns by name, with integers, numbers, strings and null. Text in a column `messages` is JSON and stands as
/// such. Read-only: the query is one statement that writes nothing. What cannot be read so is ErrorCode::invalid_input, naming the file.
[[nodiscard]] Result<void> read_sqlite_text(const std::filesystem::path& path, const SqliteSelection& selection, const TextSink& sink);

}  // namespace pipestill
