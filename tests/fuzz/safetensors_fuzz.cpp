// The weights' reader. The input is a file; it lies in memory (memfd), where open() and read() find it as any other.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>
#include <vector>

#include "ports/embedded/safetensors.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace {

using namespace pipestill;
using pipestill::fuzz::require;

/// A file in memory, overwritten for each input.
class MemoryFile {
 public:
  MemoryFile() : descriptor_(::memfd_create("input", MFD_CLOEXEC)) { require(descriptor_ >= 0, "a file in memory can be made"); }
  ~MemoryFile() { ::close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  void write(const std::uint8_t* data, std::size_t size) const {
    const bool is_written = ::ftruncate(descriptor_, 0) == 0 && ::pwrite(descriptor_, data, size, 0) == static_cast<ssize_t>(size);
    require(is_written, "a file in memory can be written");
  }
  [[nodiscard]] std::filesystem::path path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

std::uint64_t data_bytes(const std::uint8_t* data, std::size_t size) {
  std::uint64_t header = 0;
  for (int i = 7; i >= 0; --i) header = header << 8 | data[i];
  return size - 8 - header;
}

/// Every tensor has the bytes of its type and shape, and all together have every byte of the file once.
void require_consistent(const SafetensorsFile& file, std::uint64_t bytes) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> places;
  std::string_view last;
  for (const auto& tensor : file.tensors()) {
    require(places.empty() || tensor.name > last, "tensors stand by name and once");
    last = tensor.name;
    require(file.find(tensor.name) == &tensor, "a tensor is found by its name");
    __int128 count = 1;
    for (const auto n : tensor.shape) {
      require(n >= 0, "no extent is negative");
      count *= n;  // at most 2^62 so far, by the line below
      require(count <= (std::int64_t{1} << 62), "a shape fits the file");
    }
    require(count == tensor.count, "count is the product of the shape");
    require(tensor.begin <= tensor.end && tensor.end <= bytes, "a tensor lies inside the file");
    require(count * (tensor.type == SafetensorsFile::Type::f32 ? 4 : 2) == tensor.end - tensor.begin, "bytes agree with type and shape");
    places.emplace_back(tensor.begin, tensor.end);
  }
  std::ranges::sort(places);
  std::uint64_t at = 0;
  for (const auto& [begin, end] : places) {
    require(begin == at, "tensors neither overlap nor leave a hole");
    at = end;
  }
  require(at == bytes, "every byte belongs to a tensor");
}

std::vector<std::vector<float>> read_all(const SafetensorsFile& file) {
  std::vector<std::vector<float>> numbers;
  for (const auto& tensor : file.tensors()) {
    numbers.emplace_back(static_cast<std::size_t>(tensor.count));
    require(file.read(tensor, numbers.back()).has_value(), "an accepted tensor can be read");
  }
  return numbers;
}

std::vector<TensorView> views(const SafetensorsFile& file, const std::vector<std::vector<float>>& numbers) {
  std::vector<TensorView> views;
  for (std::size_t i = 0; i < numbers.size(); ++i) views.push_back({file.tensors()[i].name, file.tensors()[i].shape, numbers[i]});
  return views;
}

/// What was accepted, written out, reads back equal.
void require_round_trip(const SafetensorsFile& file) {
  const auto numbers = read_all(file);
  const auto copy_path = fuzz::scratch_directory() / "copy.safetensors";
  require(write_safetensors(copy_path, views(file, numbers), file.metadata()).has_value(), "a copy can be written");
  const auto copy = SafetensorsFile::open(copy_path);
  require(copy.has_value(), copy ? "" : "a copy can be read: " + copy.error().message);
  require(copy->metadata() == file.metadata(), "a copy has the same metadata");
  require(copy->tensors().size() == file.tensors().size(), "a copy has the same tensors");
  const auto copied = read_all(*copy);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const auto &one = file.tensors()[i], &other = copy->tensors()[i];
    require(one.name == other.name && one.shape == other.shape, "a copied tensor has the same name and shape");
    const auto is_same_bits = [](float a, float b) { return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b); };
    require(std::ranges::equal(numbers[i], copied[i], is_same_bits), "a copied tensor has the same bits");
  }
  require(weights_digest(views(file, numbers)) == weights_digest(views(*copy, copied)), "a copy has the same digest");
}

}  // namespace

PIPESTILL_FUZZ_TARGET(safetensors) {
  static const MemoryFile input;
  input.write(data, size);
  const auto file = SafetensorsFile::open(input.path());
  if (!file) {
    fuzz::require_sound_refusal(file.error());
    return 0;
  }
  require(size >= 8, "a file without a header is refused");
  require_consistent(*file, data_bytes(data, size));
  require_round_trip(*file);
  return 0;
}
