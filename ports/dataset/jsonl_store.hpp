#pragma once
// Rows that are lines: one JSON object a line.
#include <filesystem>
#include <memory>
#include <string>

#include "ports/dataset/dataset_options.hpp"
#include "ports/dataset/dataset_store.hpp"
#include "ports/dataset/indexed_text.hpp"

namespace pipestill {

/// Of a file that text_format() knows: JSON Lines, plain or compressed, or a table or query of SQLite, whose rows count as lines. Opened by
/// one scan, which finds the rows and the fingerprint, or by the index that an earlier scan left (DatasetOptions::cache); rows are read
/// and parsed when they are asked for. Costs 8 bytes a row, on the disk with a cache and in memory without, and 16 more at every gap of blank
/// lines. Blank lines are no rows; a line may end in CR LF. A file that changes while it is open is an error at the next row that is read.
class JsonlStore final : public DatasetStore {
 public:
  /// A file that cannot be read, is no regular file or is damaged is ErrorCode::invalid_input.
  [[nodiscard]] static Result<std::unique_ptr<JsonlStore>> open(const std::filesystem::path& path, const DatasetOptions& options = {});

  [[nodiscard]] std::uint64_t size() const override { return lines_.index.rows(); }
  /// ErrorCode::invalid_input with "file:line: " for a row that is too long or too deep, not UTF-8, not JSON, or not an object.
  [[nodiscard]] Result<DatasetRow> row(std::uint64_t index) override;
  /// Of the lines: the same for a file and what it was decompressed to.
  [[nodiscard]] std::string fingerprint() const override { return to_hex(lines_.index.text_hash()); }
  /// Whether the index was made now or found in the cache.
  [[nodiscard]] IndexedText::Made made() const { return lines_.made; }

 private:
  JsonlStore(std::filesystem::path path, const DatasetOptions& options, IndexedText lines);
  [[nodiscard]] std::string where(std::uint64_t index) const;
  [[nodiscard]] Result<std::string> read_line(std::uint64_t index) const;

  const std::filesystem::path path_;
  const std::size_t max_row_bytes_, max_depth_;
  const IndexedText lines_;
};

}  // namespace pipestill
