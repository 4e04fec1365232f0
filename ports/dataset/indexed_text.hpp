#pragma once
// A dataset's lines, wherever they come from, in a file that is read by position, with the index of its rows.
#include <cstdint>
#include <filesystem>
#include <functional>

#include "graph/base/error.hpp"
#include "ports/dataset/dataset_options.hpp"
#include "ports/dataset/file_handle.hpp"
#include "ports/dataset/row_index.hpp"
#include "ports/dataset/text_source.hpp"

namespace pipestill {

/// What is not plain text is written out once, as lines, into a file without a name in the directory for temporary files, or into the cache. Not
/// access points inside the compressed stream: a shuffled epoch asks for every row in random order, and each would cost the decompression
/// of half the distance between two points, a thousand rows for one; the disk is the cheaper of the two.
///
/// With a cache directory, index and lines stay there for the next run, under a name made of the dataset's path, table and query. They are
/// used if the dataset's file has the size, times and inode that it had, or else the same SHA-256; and if what lies in the cache is whole and
/// its own (checksums; the lines by the same rule). Whatever does not match is made anew. A database in WAL mode with changes outside its
/// file is never taken from the cache. Several processes may share a cache: files appear in it whole.
struct IndexedText {
  FileHandle text;
  RowIndex index;
  FileFacts facts;  ///< of `text`, when it was opened
  enum class Made { anew, from_cache, from_cache_by_hash } made = Made::anew;
};

/// ErrorCode::invalid_input for what is wrong with the dataset, ErrorCode::backend_failed for a disk that does not take what is written.
[[nodiscard]] Result<IndexedText> open_indexed_text(const std::filesystem::path& path, TextFormat format, const DatasetOptions& options);

}  // namespace pipestill
