#pragma once
// How a dataset is opened.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace pipestill {

/// How far the reading is that finds the rows.
struct DatasetProgress {
  std::uint64_t bytes = 0;        ///< of the dataset's file, or of the lines made of a database
  std::uint64_t total_bytes = 0;  ///< 0: not known
  std::uint64_t rows = 0;
};

struct DatasetOptions {
  std::string table = {}, query = {};   ///< one of them for an SQLite database, none for other files
  std::filesystem::path cache = {};     ///< directory that keeps what was found for the next run; made if it is missing. Empty: nothing is kept
  std::size_t max_row_bytes = std::size_t{16} << 20;
  std::size_t max_depth = 64;           ///< of a row's nested JSON
  std::uint64_t max_text_bytes = std::uint64_t{1} << 40;  ///< of all lines, decompressed
  /// Every 16 MiB and at the end, on the caller's thread; not where the index was found in the cache. May be empty.
  std::function<void(const DatasetProgress&)> on_progress = nullptr;
};

}  // namespace pipestill
