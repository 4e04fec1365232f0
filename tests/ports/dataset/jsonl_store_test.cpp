#include "ports/dataset/jsonl_store.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <thread>

#include "ports/dataset/dataset_factory.hpp"
#include "ports/dataset/memory_store.hpp"
#include "ports/sha256.hpp"
#include "tests/ports/support.hpp"

using namespace pipestill;
using testing::TempDir;

namespace {

std::int64_t number_of(DatasetStore& store, std::uint64_t index) { return store.row(index).value().fields.at("n").as_int64(); }

std::string error_of(DatasetStore& store, std::uint64_t index) {
  const auto row = store.row(index);
  REQUIRE(!row);
  CHECK(row.error().code == ErrorCode::invalid_input);
  return row.error().message;
}

}  // namespace

TEST_CASE("a JSONL store finds its rows among blank lines, CR LF, and without a last newline") {
  const TempDir dir;
  const std::string content = "\n{\"n\":1}\r\n{\"n\":2}\n\n \t\r\n  {\"n\":3} \n\n\n{\"n\":4}";
  const auto path = dir.write("a.jsonl", content);
  auto store = JsonlStore::open(path).value();
  REQUIRE(store->size() == 4);
  const int lines[] = {2, 3, 6, 9};
  for (std::uint64_t i = 4; i-- > 0;) {  // in no particular order
    CHECK(number_of(*store, i) == static_cast<std::int64_t>(i + 1));
    CHECK(store->row(i).value().where == path.string() + ":" + std::to_string(lines[i]));
  }
  CHECK(store->fingerprint() == sha256_hex(content));
  CHECK(store->row(4).error().code == ErrorCode::internal);
}

TEST_CASE("an empty file and a file of blank lines have no rows") {
  const TempDir dir;
  CHECK(JsonlStore::open(dir.write("a.jsonl", "")).value()->size() == 0);
  CHECK(JsonlStore::open(dir.write("b.jsonl", "\n \r\n\n")).value()->size() == 0);
}

TEST_CASE("a bad row is refused with file, line and reason, and its neighbours are not") {
  const TempDir dir;
  const auto path = dir.write("a.jsonl", "{\"n\":1}\n{\"n\":\n[1]\n{\"n\":2} x\n{\"n\":\"\xff\"}\n\"s\"\n{\"n\":2}\n");
  auto store = open_dataset(path).value();
  REQUIRE(store->size() == 7);
  CHECK(number_of(*store, 0) == 1);
  CHECK(error_of(*store, 1) == path.string() + ":2:6: the JSON text ends too early; a value, bracket or quote is not closed");
  CHECK(error_of(*store, 2) == path.string() + ":3: a row is a JSON object, not an array");
  CHECK(error_of(*store, 3) == path.string() + ":4:9: text behind the end of the JSON value");
  CHECK(error_of(*store, 4) == path.string() + ":5:7: a character that cannot stand here, or that is not valid UTF-8");
  CHECK(error_of(*store, 5) == path.string() + ":6: a row is a JSON object, not a string");
  CHECK(number_of(*store, 6) == 2);
}

TEST_CASE("a key that a row gives twice is refused with file, line and key") {
  const TempDir dir;
  const auto path = dir.write("a.jsonl", "\n{\"prompt\":\"a\",\"prompt\":\"b\"}\n"
                                         "{\"messages\":[{\"role\":\"user\",\"content\":\"c\",\"content\":\"d\"}]}\n{\"n\":1e400,\"m\":123456789012345678901}\n");
  auto store = open_dataset(path).value();
  CHECK(error_of(*store, 0) == path.string() + ":2:22: the key prompt is given twice; keep one of the two");
  CHECK(error_of(*store, 1) == path.string() + ":3:51: the key messages[0].content is given twice; keep one of the two");
  CHECK(store->row(2));  // numbers mean nothing to a conversation
}

TEST_CASE("the limits of a row are exact") {
  const TempDir dir;
  const auto nested = [](int depth) {
    return "{\"n\":" + std::string(static_cast<std::size_t>(depth), '[') + std::string(static_cast<std::size_t>(depth), ']') + "}\n";
  };
  auto depths = JsonlStore::open(dir.write("depth.jsonl", nested(63) + nested(64))).value();
  CHECK(depths->row(0));
  CHECK(error_of(*depths, 1).find(":2:69: more than 64 levels of brackets") != std::string::npos);

  const std::string ten = "{\"n\":1234}";
  for (const char* end : {"\n", "\r\n", "", "\r", "\n\n\n\n\n\n"}) {
    CAPTURE(end);
    auto store = JsonlStore::open(dir.write("exact.jsonl", ten + end), {.max_row_bytes = 10}).value();
    CHECK(number_of(*store, 0) == 1234);
    auto smaller = JsonlStore::open(dir.write("long.jsonl", ten + end), {.max_row_bytes = 9}).value();
    CHECK(error_of(*smaller, 0).find(":1: the row is longer than the 9 bytes") != std::string::npos);
  }
}

TEST_CASE("rows that cross the scan's blocks are found") {
  const TempDir dir;
  std::string content;
  for (int n = 0; n < 3; ++n)
    content += "{\"n\":" + std::to_string(n) + ",\"s\":\"" + std::string((std::size_t{1} << 20) - 7, 'x') + "\"}\n\n";
  auto store = JsonlStore::open(dir.write("a.jsonl", content)).value();
  REQUIRE(store->size() == 3);
  for (std::uint64_t i = 0; i < 3; ++i) CHECK(number_of(*store, i) == static_cast<std::int64_t>(i));
  CHECK(store->fingerprint() == sha256_hex(content));
}

TEST_CASE("many threads read one store") {
  const TempDir dir;
  std::string content;
  for (int n = 0; n < 500; ++n) content += "{\"n\":" + std::to_string(n) + "}\n";
  auto store = JsonlStore::open(dir.write("a.jsonl", content)).value();
  std::atomic<int> wrong{0};
  {
    std::vector<std::jthread> threads;
    for (std::uint64_t t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (std::uint64_t i = 0; i < 500; ++i) {
          const std::uint64_t index = (i * 7 + t * 131) % 500;
          if (number_of(*store, index) != static_cast<std::int64_t>(index)) ++wrong;
        }
      });
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("what is not a dataset is refused by name") {
  const TempDir dir;
  const auto missing = open_dataset(dir.path() / "none.jsonl");
  REQUIRE(!missing);
  CHECK(missing.error().code == ErrorCode::invalid_input);
  CHECK(missing.error().message.find("none.jsonl: No such file") != std::string::npos);
  const auto other = open_dataset("train.parquet");
  REQUIRE(!other);
  CHECK(other.error().message.find("\"train.parquet\"") != std::string::npos);
  CHECK(other.error().message.find("*.jsonl") != std::string::npos);
  std::filesystem::create_directory(dir.path() / "dir.jsonl");
  CHECK(JsonlStore::open(dir.path() / "dir.jsonl").error().code == ErrorCode::invalid_input);
  REQUIRE(::mkfifo((dir.path() / "pipe.jsonl").c_str(), 0600) == 0);
  CHECK(JsonlStore::open(dir.path() / "pipe.jsonl").error().message.find("not a regular file") != std::string::npos);
}

TEST_CASE("a file that changes while it is open is an error and no row") {
  const TempDir dir;
  const auto path = dir.write("a.jsonl", "{\"n\":1}\n{\"n\":2}\n");
  auto store = JsonlStore::open(path).value();
  std::filesystem::resize_file(path, 10);
  for (const std::uint64_t row : {0u, 1u}) {
    REQUIRE(!store->row(row));
    CHECK(store->row(row).error().code == ErrorCode::backend_failed);
    CHECK(store->row(row).error().message.find("has changed since it was opened") != std::string::npos);
  }
}

TEST_CASE("a memory store gives its rows and a fingerprint of them") {
  MemoryStore store({{{"n", 1}}, {{"n", 2}}}, "mine");
  CHECK(store.size() == 2);
  CHECK(number_of(store, 1) == 2);
  CHECK(store.row(1).value().where == "mine:2");
  CHECK(!store.row(2));
  CHECK(store.fingerprint() == sha256_hex("{\"n\":1}\n{\"n\":2}\n"));
}
