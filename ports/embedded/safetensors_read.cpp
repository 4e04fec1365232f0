#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <boost/json.hpp>
#include <cerrno>
#include <cstring>
#include <optional>
#include <set>
#include <utility>

#include "ports/embedded/safetensors.hpp"
#include "ports/printable.hpp"
#include "ports/strict_json.hpp"

namespace pipestill {
namespace {

namespace json = boost::json;

constexpr std::uint64_t kMaxHeaderBytes = 64 << 20;  // a header is about 100 bytes a tensor

std::optional<std::uint64_t> unsigned_number(const json::value& value) {
  if (value.is_int64() && value.get_int64() >= 0) return static_cast<std::uint64_t>(value.get_int64());
  if (value.is_uint64()) return value.get_uint64();
  return std::nullopt;
}

/// An entry of the header; empty text means sound.
std::string parse_entry(const json::value& value, SafetensorsFile::Tensor& tensor) {
  if (!value.is_object()) return "is not described by an object";
  const auto& entry = value.get_object();
  const auto *type = entry.if_contains("dtype"), *shape = entry.if_contains("shape"), *offsets = entry.if_contains("data_offsets");
  if (!type || !type->is_string() || !shape || !shape->is_array() || !offsets || !offsets->is_array() || offsets->get_array().size() != 2) {
    return "needs \"dtype\", \"shape\" and two \"data_offsets\"";
  }
  const auto name = std::string_view(type->get_string().data(), type->get_string().size());
  if (name == "F32") {
    tensor.type = SafetensorsFile::Type::f32;
  } else if (name == "BF16") {
    tensor.type = SafetensorsFile::Type::bf16;
  } else if (name == "F16") {
    tensor.type = SafetensorsFile::Type::f16;
  } else {
    return "has dtype \"" + printable(name, 32) + "\"; F32, BF16 or F16 is accepted";
  }
  const std::uint64_t element = tensor.type == SafetensorsFile::Type::f32 ? 4 : 2;
  constexpr auto kMost = std::uint64_t(1) << 62;
  std::uint64_t bytes = element;
  for (const auto& item : shape->get_array()) {
    const auto n = unsigned_number(item);
    // The extent too: behind an extent of 0 the product says nothing of it.
    if (!n || *n > kMost || __builtin_mul_overflow(bytes, *n, &bytes) || bytes > kMost) return "has an impossible shape";
    tensor.shape.push_back(static_cast<std::int64_t>(*n));
  }
  const auto begin = unsigned_number(offsets->get_array()[0]), end = unsigned_number(offsets->get_array()[1]);
  if (!begin || !end || *begin > *end) return "has impossible data_offsets";
  if (*end - *begin != bytes) return "has " + std::to_string(*end - *begin) + " bytes where its shape needs " + std::to_string(bytes);
  tensor.begin = *begin;
  tensor.end = *end;
  tensor.count = static_cast<std::int64_t>(bytes / element);
  return {};
}

/// False at the end of the file or on an error of the system.
bool read_exactly(int descriptor, void* out, std::uint64_t count, std::uint64_t offset) {
  auto* p = static_cast<char*>(out);
  while (count > 0) {
    const auto n = ::pread(descriptor, p, std::min<std::uint64_t>(count, 1 << 30), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    p += n;
    offset += static_cast<std::uint64_t>(n);
    count -= static_cast<std::uint64_t>(n);
  }
  return true;
}

float half_to_float(std::uint16_t h) {
  const std::uint32_t sign = std::uint32_t(h & 0x8000u) << 16, exponent = (h >> 10) & 31u, fraction = h & 0x3ffu;
  if (exponent == 0) {  // subnormal: fraction * 2^-24, which float holds exactly
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  const std::uint32_t biased = exponent == 31 ? 255u : exponent + 112u;
  return std::bit_cast<float>(sign | biased << 23 | fraction << 13);
}

}  // namespace

SafetensorsFile::SafetensorsFile(SafetensorsFile&& other) noexcept { *this = std::move(other); }
SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(data_start_, other.data_start_);
  std::swap(tensors_, other.tensors_);
  std::swap(metadata_, other.metadata_);
  return *this;
}
SafetensorsFile::~SafetensorsFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path) {
  const auto bad = [&path](const std::string& why) { return fail(ErrorCode::invalid_input, path.string() + " " + why); };
  SafetensorsFile file;
  file.path_ = path;
  file.descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file.descriptor_ < 0) {
    const std::string why = std::strerror(errno);
    return fail(ErrorCode::invalid_input, "cannot open the weights " + path.string() + ": " + why);
  }
  struct stat status {};
  if (::fstat(file.descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) return bad("is not a regular file");
  const auto size = static_cast<std::uint64_t>(status.st_size);

  unsigned char prefix[8];
  if (size < 8 || !read_exactly(file.descriptor_, prefix, 8, 0)) return bad("is truncated: it is shorter than a safetensors header");
  std::uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | prefix[i];
  if (length > kMaxHeaderBytes) return bad("is not a safetensors file, or damaged: its header length is " + std::to_string(length));
  if (length > size - 8)
    return bad("is truncated: its header needs " + std::to_string(length) + " bytes and " + std::to_string(size - 8) + " are there");
  std::string header(length, '\0');
  if (!read_exactly(file.descriptor_, header.data(), length, 8)) return bad("cannot be read");
  file.data_start_ = 8 + length;

  const auto root = parse_strict_json(header, path.string() + " is not a safetensors file, or damaged: header", kMaxHeaderBytes);
  if (!root) return fail(root.error());
  if (!root->is_object()) return bad("is not a safetensors file, or damaged: its header is not a JSON object");
  for (const auto& [key, value] : root->get_object()) {
    if (key == "__metadata__") {
      if (!value.is_object()) return bad("has a \"__metadata__\" that is not an object");
      for (const auto& [k, v] : value.get_object()) {
        if (!v.is_string()) return bad("has a \"__metadata__\" value that is not a string");
        file.metadata_.emplace(std::string(k), std::string(v.get_string()));
      }
      continue;
    }
    Tensor tensor;
    tensor.name = std::string(key);
    if (const auto why = parse_entry(value, tensor); !why.empty())
      return bad("is damaged: tensor \"" + printable(tensor.name) + "\" " + why);
    file.tensors_.push_back(std::move(tensor));
  }

  auto& tensors = file.tensors_;
  std::sort(tensors.begin(), tensors.end(),
            [](const auto& a, const auto& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  std::uint64_t at = 0;
  const auto data = size - file.data_start_;
  for (const auto& tensor : tensors) {
    if (tensor.begin != at)
      return bad("is damaged: tensor \"" + printable(tensor.name) + "\" " + (tensor.begin < at ? "overlaps another" : "leaves a hole before it"));
    if (tensor.end > data)
      return bad("is truncated: tensor \"" + printable(tensor.name) + "\" needs " + std::to_string(tensor.end) + " bytes of data and " +
                 std::to_string(data) + " are there");
    at = tensor.end;
  }
  if (at != data) return bad("is damaged: " + std::to_string(data - at) + " bytes belong to no tensor");
  std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return file;
}

const SafetensorsFile::Tensor* SafetensorsFile::find(std::string_view name) const {
  const auto it = std::lower_bound(tensors_.begin(), tensors_.end(), name, [](const Tensor& t, std::string_view n) { return t.name < n; });
  return it != tensors_.end() && it->name == name ? &*it : nullptr;
}

Result<void> SafetensorsFile::read(const Tensor& tensor, std::span<float> out) const {
  if (out.size() != static_cast<std::size_t>(tensor.count))
    return fail(ErrorCode::internal, "a buffer of another size than the tensor's was given");
  const auto damaged = [&] {
    return fail(ErrorCode::invalid_input, path_.string() + " is truncated: tensor \"" + printable(tensor.name) + "\" cannot be read");
  };
  static_assert(std::endian::native == std::endian::little, "elements are read as they lie in the file");
  if (tensor.type == Type::f32) {
    if (!read_exactly(descriptor_, out.data(), out.size_bytes(), data_start_ + tensor.begin)) return damaged();
    return {};
  }
  std::vector<std::uint16_t> halves(out.size());
  if (!read_exactly(descriptor_, halves.data(), halves.size() * 2, data_start_ + tensor.begin)) return damaged();
  const bool is_bf16 = tensor.type == Type::bf16;
  std::transform(halves.begin(), halves.end(), out.begin(),
                 [is_bf16](std::uint16_t h) { return is_bf16 ? std::bit_cast<float>(std::uint32_t(h) << 16) : half_to_float(h); });
  return {};
}

namespace {

constexpr std::string_view kTiedHead = "lm_head.weight";

std::string text_of(const std::vector<std::int64_t>& shape) {
  std::string s = "[";
  for (const auto n : shape) {
    if (s.size() > 1) s += ", ";
    s += std::to_string(n);
  }
  return s + "]";
}

/// A tensor, and the file that it is in.
struct Found {
  const SafetensorsFile* file = nullptr;
  const SafetensorsFile::Tensor* tensor = nullptr;
};
Found find(std::span<const SafetensorsFile> files, std::string_view name) {
  for (const auto& file : files) {
    if (const auto* tensor = file.find(name)) return {&file, tensor};
  }
  return {};
}

Result<void> check_shape(const Found& found, const std::vector<std::int64_t>& shape) {
  if (found.tensor->shape == shape) return {};
  return fail(ErrorCode::invalid_input, found.file->path().string() + ": tensor \"" + found.tensor->name + "\" has shape " +
                                            text_of(found.tensor->shape) + ", config.json calls for " + text_of(shape));
}

/// Some writers store a tied output matrix a second time. One that differs is no copy: the model is not the one that config.json describes.
Result<void> check_tied_head(std::span<const SafetensorsFile> files, const ModelLayout& layout, std::span<const float> flat) {
  const auto head = find(files, kTiedHead);
  if (!layout.config.tie_word_embeddings || !head.tensor) return {};
  std::vector<float> copy(static_cast<std::size_t>(head.tensor->count));
  if (auto done = head.file->read(*head.tensor, copy); !done) return done;
  if (std::memcmp(copy.data(), flat.data() + layout.embedding, copy.size() * sizeof(float)) == 0) return {};
  return fail(ErrorCode::invalid_input,
              head.file->path().string() + ": tensor \"" + std::string(kTiedHead) +
                  "\" differs from \"model.embed_tokens.weight\", to which config.json ties it; set tie_word_embeddings to false");
}

}  // namespace

Result<void> check_tensors(std::span<const SafetensorsFile> files, const ModelLayout& layout, std::string_view prefix) {
  const auto& first = files.front().path();
  const auto whole = files.size() == 1 ? first.string() : first.parent_path().string() + " (" + std::to_string(files.size()) + " shards)";
  std::set<std::string, std::less<>> expected;
  for (const auto& place : layout.tensors) {
    const auto name = std::string(prefix) + place.name;
    const auto found = find(files, name);
    if (!found.tensor) return fail(ErrorCode::invalid_input, whole + " lacks the tensor \"" + name + "\" that config.json calls for");
    if (auto fits = check_shape(found, place.shape); !fits) return fits;
    expected.insert(name);
  }
  for (const auto& file : files) {
    for (const auto& tensor : file.tensors()) {
      if (!tensor.name.starts_with(prefix) || expected.contains(tensor.name) || tensor.name.ends_with(".rotary_emb.inv_freq")) continue;
      if (layout.config.tie_word_embeddings && tensor.name == kTiedHead) {
        if (auto fits = check_shape({&file, &tensor}, {layout.config.vocab_size, layout.config.hidden_size}); !fits) return fits;
        continue;
      }
      return fail(ErrorCode::invalid_input,
                  file.path().string() + " has the tensor \"" + printable(tensor.name) + "\", for which config.json has no place");
    }
  }
  return {};
}

Result<void> read_tensors(std::span<const SafetensorsFile> files, const ModelLayout& layout, std::span<float> flat,
                          std::string_view prefix) {
  if (auto matches = check_tensors(files, layout, prefix); !matches) return matches;
  for (const auto& place : layout.tensors) {
    const auto part = flat.subspan(static_cast<std::size_t>(place.offset), static_cast<std::size_t>(place.count));
    const auto found = find(files, std::string(prefix) + place.name);
    if (auto done = found.file->read(*found.tensor, part); !done) return done;
  }
  return prefix.empty() ? check_tied_head(files, layout, flat) : Result<void>();
}

}  // namespace pipestill
