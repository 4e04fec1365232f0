#include <doctest/doctest.h>
#include <zlib.h>
#include <zstd.h>

#include <memory>
#include <string>
#include <vector>

#include "ports/dataset/dataset_factory.hpp"
#include "ports/dataset/jsonl_store.hpp"
#include "ports/sha256.hpp"
#include "tests/ports/support.hpp"

using namespace pipestill;
using testing::TempDir;

namespace {

std::string gzip_of(const std::string& text) {
  z_stream z = {};
  REQUIRE(::deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(::deflateBound(&z, text.size()), '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  z.avail_in = static_cast<uInt>(text.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  REQUIRE(::deflate(&z, Z_FINISH) == Z_STREAM_END);
  out.resize(out.size() - z.avail_out);
  ::deflateEnd(&z);
  return out;
}

std::string zstd_of(const std::string& text) {
  const std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> context(ZSTD_createCCtx(), &ZSTD_freeCCtx);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_checksumFlag, 1);  // as the program zstd does
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress2(context.get(), out.data(), out.size(), text.data(), text.size()));
  return out;
}

struct Compression {
  const char *name, *extension;
  std::string (*compress)(const std::string&);
};
const std::vector<Compression> kTestedCompressions{{"gzip", ".jsonl.gz", gzip_of}, {"zstd", ".jsonl.zst", zstd_of}};

/// Rows of all lengths, so that pieces end anywhere.
std::string lines_of(int rows) {
  std::string text;
  for (int n = 0; n < rows; ++n) text += "{\"n\":" + std::to_string(n) + ",\"s\":\"" + std::string(static_cast<std::size_t>(n * 37 % 1009), 'x') + "\"}\n";
  return text;
}

std::string refused_compression(const std::filesystem::path& path, const DatasetOptions& options = {}) {
  const auto store = open_dataset(path, options);
  REQUIRE(!store);
  CHECK(store.error().code == ErrorCode::invalid_input);
  CHECK(store.error().message.find(path.string()) != std::string::npos);
  return store.error().message;
}

}  // namespace

TEST_CASE("a compressed dataset is the dataset that was compressed") {
  const TempDir dir;
  const auto text = lines_of(2000);
  for (const auto& c : kTestedCompressions) {
    CAPTURE(c.name);
    // Several members or frames, one of them empty: what concatenation makes.
    const auto half = text.size() / 2;
    const auto path = dir.write(std::string("a") + c.extension, c.compress(text.substr(0, half)) + c.compress("") + c.compress(text.substr(half)));
    const auto store = open_dataset(path).value();
    REQUIRE(store->size() == 2000);
    CHECK(store->fingerprint() == sha256_hex(text));
    for (const std::uint64_t row : {1999u, 0u, 777u, 1024u}) {
      const auto read = store->row(row).value();
      CHECK(read.fields.at("n").as_int64() == static_cast<std::int64_t>(row));
      CHECK(read.where == path.string() + ":" + std::to_string(row + 1));
    }
    CHECK(open_dataset(dir.write(std::string("none") + c.extension, c.compress(""))).value()->size() == 0);
  }
}

TEST_CASE("a compressed dataset that is cut off anywhere is refused, never shorter") {
  const TempDir dir;
  for (const auto& c : kTestedCompressions) {
    CAPTURE(c.name);
    const auto whole = c.compress("{\"n\":1}\n{\"n\":2}\n");
    for (std::size_t size = 0; size < whole.size(); ++size) {
      CAPTURE(size);
      CHECK(refused_compression(dir.write(std::string("cut") + c.extension, whole.substr(0, size))).find("is cut off after " + std::to_string(size) + " bytes") != std::string::npos);
    }
  }
}

TEST_CASE("a compressed dataset with a changed byte, or with something behind it, is refused") {
  const TempDir dir;
  for (const auto& c : kTestedCompressions) {
    CAPTURE(c.name);
    auto damaged = c.compress(lines_of(50));
    damaged[damaged.size() / 2] = static_cast<char>(damaged[damaged.size() / 2] ^ 0x55);
    refused_compression(dir.write(std::string("damaged") + c.extension, damaged));
    CHECK(refused_compression(dir.write(std::string("tail") + c.extension, c.compress("{}\n") + "more text")).find(std::string("is not whole ") + c.name) != std::string::npos);
    CHECK(refused_compression(dir.write(std::string("plain") + c.extension, "{\"n\":1}\n{\"n\":2}\n")).find(std::string("is not whole ") + c.name) != std::string::npos);
  }
}

TEST_CASE("a small file that decompresses to more than a dataset may have is refused") {
  const TempDir dir;
  for (const auto& c : kTestedCompressions) {
    CAPTURE(c.name);
    const auto path = dir.write(std::string("bomb") + c.extension, c.compress(std::string(std::size_t{1} << 22, ' ')));
    CHECK(refused_compression(path, {.max_text_bytes = (std::uint64_t{1} << 22) - 1}).find("more than the 4194303 bytes") != std::string::npos);
    CHECK(open_dataset(path, {.max_text_bytes = std::uint64_t{1} << 22}).value()->size() == 0);
  }
}
