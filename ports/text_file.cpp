#include "ports/text_file.hpp"

#include <cerrno>
#include <fstream>
#include <system_error>

namespace pipestill {
namespace {

std::string last_error() { return std::generic_category().message(errno); }

}  // namespace

Result<std::string> read_text_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
  std::error_code ec;
  const auto size = std::filesystem::file_size(path, ec);
  if (ec) return fail(ErrorCode::invalid_input, "cannot read " + path.string() + ": " + ec.message());
  if (size > max_bytes) {
    return fail(ErrorCode::invalid_input, path.string() + " has " + std::to_string(size) + " bytes, more than the " +
                                              std::to_string(max_bytes) + " that such a file may have");
  }
  std::ifstream file(path, std::ios::binary);
  std::string text(size, '\0');
  if (!file.read(text.data(), static_cast<std::streamsize>(size))) {
    return fail(ErrorCode::invalid_input, "cannot read " + path.string() + ": " + last_error());
  }
  return text;
}

Result<void> write_text_file(const std::filesystem::path& path, std::string_view text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  file.close();
  if (!file) return fail(ErrorCode::backend_failed, "cannot write " + path.string() + ": " + last_error());
  return {};
}

}  // namespace pipestill
