#include "ports/dataset/indexed_text.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <vector>

#include "ports/dataset/jsonl_store.hpp"
#include "ports/sha256.hpp"
#include "tests/ports/support.hpp"

using namespace pipestill;
using testing::TempDir;
using Made = IndexedText::Made;
namespace fs = std::filesystem;

namespace {

std::string numbered_lines(int begin, int end) {
  std::string text;
  for (int n = begin; n < end; ++n) text += "{\"n\":" + std::to_string(n) + "}\n" + (n % 100 == 3 ? "\n" : "");
  return text;
}

/// So old that its times can be trusted.
void make_old(const fs::path& path) { fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::hours(1)); }

std::unique_ptr<JsonlStore> open_in(const fs::path& path, const fs::path& cache) { return JsonlStore::open(path, {.cache = cache}).value(); }

/// Every row with its place, as one text.
std::string all_rows(JsonlStore& store) {
  std::string text;
  for (std::uint64_t i = 0; i < store.size(); ++i) {
    const auto row = store.row(i).value();
    text += row.where.substr(row.where.rfind(':')) + "=" + std::to_string(row.fields.at("n").as_int64());
  }
  return text;
}

std::vector<fs::path> files_in(const fs::path& directory) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(directory)) files.push_back(entry.path());
  return files;
}

}  // namespace

TEST_CASE("an index is made once, and found again") {
  const TempDir dir;
  const auto cache = dir.path() / "cache" / "below";
  const auto path = dir.write("a.jsonl", numbered_lines(0, 20000));  // more rows than are written at a time
  make_old(path);
  const auto first = open_in(path, cache);
  CHECK(first->made() == Made::anew);
  const auto rows = all_rows(*first);
  const auto again = open_in(path, cache);
  CHECK(again->made() == Made::from_cache);
  CHECK(again->size() == 20000);
  CHECK(all_rows(*again) == rows);
  CHECK(again->fingerprint() == first->fingerprint());
  CHECK(files_in(cache).size() == 1);
  CHECK(JsonlStore::open(path).value()->made() == Made::anew);  // nobody named the cache
}

TEST_CASE("a file whose times say nothing is told by its content") {
  const TempDir dir;
  const auto cache = dir.path() / "cache";
  const auto path = dir.write("a.jsonl", numbered_lines(0, 50));
  SUBCASE("made a moment ago") {
    open_in(path, cache);
    CHECK(open_in(path, cache)->made() == Made::from_cache_by_hash);
    CHECK(open_in(path, cache)->made() == Made::from_cache_by_hash);
  }
  SUBCASE("touched") {
    make_old(path);
    open_in(path, cache);
    fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::minutes(1));
    CHECK(open_in(path, cache)->made() == Made::from_cache_by_hash);
    CHECK(open_in(path, cache)->made() == Made::from_cache);  // whose times are known now
  }
}

TEST_CASE("an index of another content is made anew, even where size and date are the same") {
  const TempDir dir;
  const auto cache = dir.path() / "cache";
  const auto path = dir.write("a.jsonl", "{\"n\":1}\n{\"n\":2}\n");
  make_old(path);
  const auto date = fs::last_write_time(path);
  open_in(path, cache);
  SUBCASE("same size and date") {
    dir.write("a.jsonl", "{\"n\":1} \n{\"n\":3}");
    fs::last_write_time(path, date);
    REQUIRE(fs::file_size(path) == 16);
    const auto store = open_in(path, cache);
    CHECK(store->made() == Made::anew);
    CHECK(all_rows(*store) == ":1=1:2=3");
  }
  SUBCASE("another size") {
    dir.write("a.jsonl", "{\"n\":4}\n");
    const auto store = open_in(path, cache);
    CHECK(store->made() == Made::anew);
    CHECK(all_rows(*store) == ":1=4");
  }
}

TEST_CASE("a damaged index is made anew, whatever byte it is") {
  const TempDir dir;
  const auto cache = dir.path() / "cache";
  const auto path = dir.write("a.jsonl", numbered_lines(0, 8));
  make_old(path);
  open_in(path, cache);
  REQUIRE(files_in(cache).size() == 1);
  const auto index = files_in(cache).front();
  const auto whole = testing::read_file(index);
  const auto write_index = [&](const std::string& bytes) { std::ofstream(index, std::ios::binary | std::ios::trunc) << bytes; };
  for (std::size_t at = 0; at < whole.size(); ++at) {
    CAPTURE(at);
    auto bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] + 1);
    write_index(bytes);
    CHECK(open_in(path, cache)->made() == Made::anew);
    CHECK(testing::read_file(index).size() == whole.size());
  }
  for (const auto& bytes : {std::string(), whole.substr(0, 10), whole.substr(0, whole.size() - 1), whole + whole}) {
    write_index(bytes);
    const auto store = open_in(path, cache);
    CHECK(store->made() == Made::anew);
    CHECK(store->size() == 8);
  }
}

TEST_CASE("the lines of a compressed file stay with the index, and are checked like it") {
  const TempDir dir;
  const auto cache = dir.path() / "cache";
  const auto text = numbered_lines(0, 30);
  // A zstd frame of one raw block (RFC 8878): magic, a single segment of 2 bytes of size, block header, the text.
  std::string frame("\x28\xb5\x2f\xfd\x60", 5);
  const auto size = text.size() - 256;
  frame += {static_cast<char>(size & 0xff), static_cast<char>(size >> 8)};
  const auto block = text.size() << 3 | 1;
  frame += {static_cast<char>(block & 0xff), static_cast<char>(block >> 8 & 0xff), static_cast<char>(block >> 16)};
  const auto path = dir.write("a.jsonl.zst", frame + text);
  make_old(path);
  const auto first = open_in(path, cache);
  CHECK(first->size() == 30);
  CHECK(first->fingerprint() == sha256_hex(text));
  const auto rows = all_rows(*first);
  CHECK(files_in(cache).size() == 2);
  CHECK(open_in(path, cache)->made() == Made::from_cache);
  for (const auto& file : files_in(cache)) {
    if (file.extension() == ".jsonl") {
      std::ofstream(file, std::ios::binary | std::ios::in) << "{\"n\":9}";
    }
  }
  const auto store = open_in(path, cache);
  CHECK(store->made() == Made::anew);
  CHECK(all_rows(*store) == rows);
  CHECK(!first->row(0));  // whose lines those were
}

TEST_CASE("tables, queries and paths do not share an index; a failed scan leaves nothing in the cache") {
  const TempDir dir;
  const auto cache = dir.path() / "cache";
  open_in(dir.write("a.jsonl", numbered_lines(0, 3)), cache);
  open_in(dir.write("b.jsonl", numbered_lines(0, 3)), cache);
  CHECK(files_in(cache).size() == 2);
  CHECK(!JsonlStore::open(dir.write("c.jsonl.gz", "no gzip"), {.cache = cache}));
  CHECK(files_in(cache).size() == 2);
  const auto blocked = JsonlStore::open(dir.path() / "a.jsonl", {.cache = dir.path() / "a.jsonl"});
  REQUIRE(!blocked);
  CHECK(blocked.error().code == ErrorCode::invalid_input);
  CHECK(blocked.error().message.find("cannot make the dataset's cache") != std::string::npos);
}

TEST_CASE("the scan says how far it is, and nothing where it is not needed") {
  const TempDir dir;
  std::string text;
  while (text.size() < (std::size_t{40} << 20)) text += "{\"n\":1,\"s\":\"" + std::string(1 << 16, 'x') + "\"}\n";
  const auto path = dir.write("a.jsonl", text);
  make_old(path);
  std::vector<DatasetProgress> told;
  const DatasetOptions options{.cache = dir.path() / "cache", .on_progress = [&](const DatasetProgress& p) { told.push_back(p); }};
  const auto store = JsonlStore::open(path, options).value();
  REQUIRE(told.size() == 3);
  CHECK(told[0].bytes >= (std::uint64_t{16} << 20));
  CHECK(told[0].bytes < told[1].bytes);
  CHECK(told[0].total_bytes == text.size());
  CHECK(told[2].bytes == text.size());
  CHECK(told[2].rows == store->size());
  told.clear();
  CHECK(JsonlStore::open(path, options).value()->made() == Made::from_cache);
  CHECK(told.empty());
}
