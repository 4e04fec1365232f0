#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <boost/json.hpp>
#include <cerrno>
#include <cstring>
#include <memory>
#include <stdexcept>

#include "ports/embedded/safetensors.hpp"

namespace pipestill {
namespace {

namespace json = boost::json;

std::string_view bytes_of(std::span<const float> data) { return {reinterpret_cast<const char*>(data.data()), data.size_bytes()}; }

bool write_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto n = ::write(descriptor, bytes.data(), std::min<std::size_t>(bytes.size(), 1 << 30));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

std::string little_endian(std::uint64_t x) {
  std::string s(8, '\0');
  for (auto& byte : s) {
    byte = static_cast<char>(x & 0xff);
    x >>= 8;
  }
  return s;
}

}  // namespace

Result<void> write_file_atomically(const std::filesystem::path& file, std::span<const std::string_view> pieces) {
  static std::atomic<unsigned> counter{0};
  const auto temporary =
      file.parent_path() / ("." + file.filename().string() + "." + std::to_string(::getpid()) + "." + std::to_string(counter++));
  const auto failed = [&](const char* what) {
    const auto message = std::string("cannot ") + what + " " + file.string() + ": " + std::strerror(errno);
    ::unlink(temporary.c_str());
    return fail(ErrorCode::backend_failed, message);
  };
  const int descriptor = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor < 0) return failed("create");
  bool is_written = true;
  for (const auto piece : pieces) is_written = is_written && write_all(descriptor, piece);
  is_written = is_written && ::fsync(descriptor) == 0;
  const int error = errno;
  if (::close(descriptor) != 0 || !is_written) {
    if (!is_written) errno = error;
    return failed("write");
  }
  if (::rename(temporary.c_str(), file.c_str()) != 0) return failed("rename");
  // The name is durable only when the directory is.
  const auto directory = file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
  if (const int d = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); d >= 0) {
    ::fsync(d);
    ::close(d);
  }
  return {};
}

Result<void> write_safetensors(const std::filesystem::path& file, std::span<const TensorView> tensors,
                               const std::map<std::string, std::string>& metadata) {
  static_assert(std::endian::native == std::endian::little, "elements are written as they lie in memory");
  json::object header;
  json::object notes;
  for (const auto& [key, value] : metadata) notes[key] = value;
  if (!notes.empty()) header["__metadata__"] = std::move(notes);
  std::uint64_t at = 0;
  for (const auto& tensor : tensors) {
    const auto end = at + tensor.data.size_bytes();
    header[tensor.name] = {{"dtype", "F32"}, {"shape", json::value_from(tensor.shape)}, {"data_offsets", {at, end}}};
    at = end;
  }
  auto text = json::serialize(header);
  text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the data are aligned for readers that map the file
  const auto length = little_endian(text.size());
  std::vector<std::string_view> pieces{length, text};
  for (const auto& tensor : tensors) pieces.push_back(bytes_of(tensor.data));
  return write_file_atomically(file, pieces);
}

std::string weights_digest(std::vector<TensorView> tensors) {
  std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  if (!context || EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1) throw std::runtime_error("SHA-256 is not available");
  const auto feed = [&](std::string_view bytes) {
    const auto length = little_endian(bytes.size());
    if (EVP_DigestUpdate(context.get(), length.data(), length.size()) != 1 ||
        EVP_DigestUpdate(context.get(), bytes.data(), bytes.size()) != 1) {
      throw std::runtime_error("SHA-256 failed");
    }
  };
  for (const auto& tensor : tensors) {
    std::string shape;
    for (const auto n : tensor.shape) shape += little_endian(static_cast<std::uint64_t>(n));
    feed(tensor.name);
    feed("F32");
    feed(shape);
    feed(bytes_of(tensor.data));
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (EVP_DigestFinal_ex(context.get(), digest, &size) != 1) throw std::runtime_error("SHA-256 failed");
  std::string text;
  for (unsigned int i = 0; i < size; ++i) {
    text += "0123456789abcdef"[digest[i] >> 4];
    text += "0123456789abcdef"[digest[i] & 15];
  }
  return text;
}

std::vector<TensorView> tensor_views(const ModelLayout& layout, std::span<const float> flat, std::string_view prefix) {
  std::vector<TensorView> views;
  for (const auto& place : layout.tensors) {
    const auto part = flat.subspan(static_cast<std::size_t>(place.offset), static_cast<std::size_t>(place.count));
    views.push_back({std::string(prefix) + place.name, place.shape, part});
  }
  return views;
}

}  // namespace pipestill
