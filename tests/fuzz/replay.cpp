// Runs a fuzz target over the files of a folder: the committed corpora stay tested where there is no libFuzzer.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "tests/fuzz/fuzz.hpp"

namespace pipestill::fuzz {
namespace {

std::map<std::string, Target>& replayed_targets() {
  static std::map<std::string, Target> targets;
  return targets;
}

}  // namespace

ReplayedTarget::ReplayedTarget(const char* name, Target target) { replayed_targets().emplace(name, target); }

}  // namespace pipestill::fuzz

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s TARGET FOLDER\n", argv[0]);
    return 2;
  }
  const auto& targets = pipestill::fuzz::replayed_targets();
  const auto target = targets.find(argv[1]);
  if (target == targets.end()) {
    std::fprintf(stderr, "there is no target %s; there are", argv[1]);
    for (const auto& [name, unused] : targets) std::fprintf(stderr, " %s", name.c_str());
    std::fputs("\n", stderr);
    return 2;
  }
  std::error_code ec;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(argv[2], ec)) files.push_back(entry.path());
  std::ranges::sort(files);
  if (ec || files.empty()) {
    std::fprintf(stderr, "%s: the folder %s\n", argv[2], ec ? ec.message().c_str() : "is empty");
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
    target->second(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  }
  std::printf("%zu inputs\n", files.size());
  return 0;
}
