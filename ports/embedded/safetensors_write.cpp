#include <algorithm>
#include <bit>
#include <boost/json.hpp>

#include "ports/durable_file.hpp"
#include "ports/embedded/safetensors.hpp"
#include "ports/sha256.hpp"

namespace pipestill {
namespace {

namespace json = boost::json;

std::string_view bytes_of(std::span<const float> data) { return {reinterpret_cast<const char*>(data.data()), data.size_bytes()}; }

std::string little_endian(std::uint64_t x) {
  std::string s(8, '\0');
  for (auto& byte : s) {
    byte = static_cast<char>(x & 0xff);
    x >>= 8;
  }
  return s;
}

}  // namespace

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
  Sha256 hash;
  for (const auto& tensor : tensors) {
    std::string shape;
    for (const auto n : tensor.shape) shape += little_endian(static_cast<std::uint64_t>(n));
    hash.field(tensor.name).field("F32").field(shape).field(bytes_of(tensor.data));
  }
  return to_hex(hash.finish());
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
