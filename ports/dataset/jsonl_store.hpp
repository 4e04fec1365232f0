#pragma once
// A JSON Lines file: one JSON object a line.
#include <cstddef>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "ports/dataset/dataset_store.hpp"

namespace pipestill {

/// Opened by one scan, which finds the rows and the fingerprint; rows are read and parsed when they are asked for. Costs 8 bytes a
/// row, and 16 more at every gap of blank lines. Blank lines are no rows; a line may end in CR LF. The file must not change while it is
/// open.
class JsonlStore final : public DatasetStore {
 public:
  struct Limits {
    std::size_t max_row_bytes = std::size_t{16} << 20;
    std::size_t max_depth = 64;  ///< of nested JSON
  };

  /// A file that cannot be read, or is no regular file, is ErrorCode::invalid_input.
  [[nodiscard]] static Result<std::unique_ptr<JsonlStore>> open(const std::filesystem::path& path, Limits limits);
  [[nodiscard]] static Result<std::unique_ptr<JsonlStore>> open(const std::filesystem::path& path) { return open(path, Limits{}); }
  ~JsonlStore() override;

  [[nodiscard]] std::uint64_t size() const override { return offsets_.size(); }
  /// ErrorCode::invalid_input with "file:line: " for a row that is too long or too deep, not UTF-8, not JSON, or not an object.
  [[nodiscard]] Result<DatasetRow> row(std::uint64_t index) override;
  [[nodiscard]] std::string fingerprint() const override { return fingerprint_; }

 private:
  JsonlStore(std::filesystem::path path, int file, Limits limits);
  Result<void> scan();
  [[nodiscard]] std::string where(std::uint64_t index) const;
  [[nodiscard]] Result<std::string> read_line(std::uint64_t index) const;

  struct Gap {
    std::uint64_t row, blank_lines;  ///< before this row there are so many blank lines, counted from the file's begin
  };
  const std::filesystem::path path_;
  const int file_;
  const Limits limits_;
  std::uint64_t bytes_ = 0;
  std::vector<std::uint64_t> offsets_;  ///< where each row begins
  std::vector<Gap> gaps_;               ///< ascending
  std::string fingerprint_;
};

}  // namespace pipestill
