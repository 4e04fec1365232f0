#pragma once
// RowIndex: where each row of a text of lines begins.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "graph/base/error.hpp"
#include "ports/dataset/file_handle.hpp"
#include "ports/sha256.hpp"

namespace pipestill {

/// Lies in a file of its own and is read from there: 8 bytes a row on the disk (in memory, where the file is), and in the process only 16
/// bytes at every gap of blank lines. Blank lines are no rows. Immutable once made, and thread-safe.
class RowIndex {
 public:
  /// What an index is an index of, so that a later run knows whether it still is.
  struct Origin {
    FileFacts source = {};           ///< of the dataset's file; size alone where its times could not yet tell a change
    Sha256Digest source_hash = {};   ///< of its bytes
    FileFacts text = {};             ///< of the file with the lines: the source itself, or what was made of it
    Sha256Digest text_hash = {};
  };

  /// Finds the rows of a text that comes in pieces.
  class Builder {
   public:
    explicit Builder(FileHandle file);
    [[nodiscard]] Result<void> add(std::string_view piece);
    [[nodiscard]] std::uint64_t rows() const { return rows_; }
    [[nodiscard]] std::uint64_t text_bytes() const { return text_bytes_; }
    /// Ends the text. The index has no origin yet.
    [[nodiscard]] Result<RowIndex> finish();

   private:
    friend class RowIndex;
    struct Gap {
      std::uint64_t row, blank_lines;  ///< before this row there are so many blank lines, counted from the text's begin
    };
    [[nodiscard]] Result<void> end_line(std::uint64_t next_begin);
    [[nodiscard]] Result<void> write(std::string_view bytes);

    FileHandle file_;
    std::vector<std::uint64_t> pending_;  ///< beginnings not yet written
    std::vector<Gap> gaps_;               ///< ascending
    std::uint64_t rows_ = 0, blank_lines_ = 0, line_begin_ = 0, text_bytes_ = 0, written_ = 0;
    bool is_line_blank_ = true;
    Sha256 text_hash_, body_hash_;
  };

  /// An index that an earlier run wrote. ErrorCode::invalid_input if it is not whole, or not one: every byte of it is checked.
  [[nodiscard]] static Result<RowIndex> load(FileHandle file);
  /// Writes down what it is an index of; it can be loaded from then on.
  [[nodiscard]] Result<void> seal(const Origin& origin);

  [[nodiscard]] std::uint64_t rows() const { return rows_; }
  [[nodiscard]] std::uint64_t text_bytes() const { return text_bytes_; }
  [[nodiscard]] const Origin& origin() const { return origin_; }
  [[nodiscard]] const Sha256Digest& text_hash() const { return origin_.text_hash; }

  /// Where a row begins, and where the next one does (or the text ends).
  struct Place {
    std::uint64_t begin = 0, next = 0;
  };
  /// `row` is below rows().
  [[nodiscard]] Result<Place> place(std::uint64_t row) const;
  /// The number of its line, from 1.
  [[nodiscard]] std::uint64_t line(std::uint64_t row) const;

 private:
  RowIndex() = default;
  [[nodiscard]] Result<void> check_body(const Sha256Digest& expected);

  FileHandle file_;
  std::uint64_t rows_ = 0, text_bytes_ = 0;
  std::vector<Builder::Gap> gaps_;
  Sha256Digest body_hash_ = {};
  Origin origin_;
};

}  // namespace pipestill
