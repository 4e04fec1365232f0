#include "tests/fuzz/fuzz.hpp"

#include <unistd.h>

#include <boost/locale/utf.hpp>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

namespace pipestill::fuzz {

void require(bool holds, std::string_view what) {
  if (holds) return;
  std::fprintf(stderr, "broken: %.*s\n", static_cast<int>(what.size()), what.data());
  std::abort();
}

void write_input(const std::filesystem::path& file, const std::uint8_t* data, std::size_t size) {
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  out.close();
  require(out.good(), "an input can be written to a file");
}

void require_sound_refusal(const Error& error) {
  namespace utf = boost::locale::utf;
  const auto& text = error.message;
  const auto check = [&](bool holds, const char* what) { require(holds, std::string(what) + ": [" + text + "]"); };
  check(error.code == ErrorCode::invalid_input, "a refusal blames the input");
  check(!text.empty(), "a refusal says why");
  check(text.size() <= 1000, "a refusal is one sentence");
  for (auto at = text.begin(); at != text.end();) {
    const auto code = utf::utf_traits<char>::decode(at, text.end());
    check(code != utf::illegal && code != utf::incomplete, "a refusal is UTF-8");
    check(code >= 0x20 && (code < 0x7f || code >= 0xa0), "a refusal has no control characters");
  }
}

const std::filesystem::path& scratch_directory() {
  static const struct Scratch {
    Scratch() {
      std::error_code ec;
      const std::filesystem::path memory = "/dev/shm";
      const auto base = std::filesystem::is_directory(memory, ec) ? memory : std::filesystem::temp_directory_path();
      auto name = (base / "pipestill-fuzz-XXXXXX").string();
      require(::mkdtemp(name.data()) != nullptr, "a temporary directory can be made");
      path = name;
    }
    ~Scratch() {
      std::error_code ignored;
      std::filesystem::remove_all(path, ignored);
    }
    std::filesystem::path path;
  } scratch;
  return scratch.path;
}

}  // namespace pipestill::fuzz
