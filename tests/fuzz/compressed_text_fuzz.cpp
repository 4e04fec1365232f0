// A compressed dataset. The first byte chooses between gzip and zstd, the rest is the file.
#include <algorithm>
#include <fstream>
#include <string>

#include "ports/dataset/dataset_factory.hpp"
#include "tests/fuzz/fuzz.hpp"

PIPESTILL_FUZZ_TARGET(compressed_text) {
  using namespace pipestill;
  if (size == 0) return 0;
  const auto path = fuzz::scratch_directory() / (data[0] % 2 == 0 ? "rows.jsonl.gz" : "rows.jsonl.zst");
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(data + 1), static_cast<std::streamsize>(size - 1));
  const auto store = open_dataset(path, {.max_row_bytes = 512, .max_depth = 16, .max_text_bytes = std::uint64_t{1} << 20});
  if (!store) {
    fuzz::require_sound_refusal(store.error());
    return 0;
  }
  fuzz::require(size > 1, "an empty file is no compressed one");
  for (std::uint64_t i = 0; i < std::min<std::uint64_t>((*store)->size(), 100); ++i) {
    if (const auto row = (*store)->row(i); !row) fuzz::require_sound_refusal(row.error());
  }
  return 0;
}
