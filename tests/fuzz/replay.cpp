// Runs a fuzz target over the files of a folder: the committed corpus stays tested where there is no libFuzzer.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/fuzz/fuzz.hpp"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
    return 2;
  }
  std::error_code ec;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1], ec)) files.push_back(entry.path());
  std::ranges::sort(files);
  if (ec || files.empty()) {
    std::fprintf(stderr, "%s: the folder %s\n", argv[1], ec ? ec.message().c_str() : "is empty");
    return 1;
  }
  for (const auto& path : files) {
    std::fprintf(stderr, "%s\n", path.c_str());  // so that the last line before an abort names the input
    std::ifstream file(path, std::ios::binary);
    // A vector of exactly that size: a read behind the end is one behind the allocation.
    const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
    if (file.bad() || !file.is_open()) {
      std::fprintf(stderr, "%s cannot be read\n", path.c_str());
      return 1;
    }
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  }
  std::printf("%zu inputs\n", files.size());
  return 0;
}
