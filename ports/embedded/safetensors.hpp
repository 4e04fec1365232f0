#pragma once
// Weights on disk: the safetensors format (huggingface/safetensors, README "Format"): an 8-byte little-endian header length, a JSON
// header, then the tensors' bytes. Needs no libtorch.
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/base/error.hpp"
#include "ports/embedded/model_layout.hpp"

namespace pipestill {

/// A file that was opened and whose header was found sound: every tensor's bytes agree with its type and shape, the
/// tensors cover the file without hole or overlap, names are unique, and the file is as long as the header says.
/// Reading uses pread, so a file that is cut short later is an error and no crash. Movable; reads may run at once.
class SafetensorsFile {
 public:
  enum class Type { f32, bf16, f16 };
  struct Tensor {
    std::string name;
    Type type = Type::f32;
    std::vector<std::int64_t> shape;
    std::uint64_t begin = 0, end = 0;  ///< bytes, from the end of the header
    std::int64_t count = 0;            ///< elements
  };

  /// Anything unsound is ErrorCode::invalid_input in one sentence naming the file, and the tensor where there is one.
  [[nodiscard]] static Result<SafetensorsFile> open(const std::filesystem::path& file);
  SafetensorsFile(SafetensorsFile&& other) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&& other) noexcept;
  ~SafetensorsFile();

  [[nodiscard]] const std::vector<Tensor>& tensors() const { return tensors_; }  ///< by name
  [[nodiscard]] const Tensor* find(std::string_view name) const;
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const { return metadata_; }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// All elements of `tensor`, as float. `out` has tensor.count elements.
  [[nodiscard]] Result<void> read(const Tensor& tensor, std::span<float> out) const;

 private:
  SafetensorsFile() = default;

  std::filesystem::path path_;
  int descriptor_ = -1;
  std::uint64_t data_start_ = 0;
  std::vector<Tensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

/// The files of one checkpoint: `file` alone or, where only `file`.index.json is there, the shards that it names, beside it (Hugging Face's
/// checkpoints of several files). Each tensor is then in the shard that the index says and in no other; anything else is
/// ErrorCode::invalid_input, naming index, shard and tensor.
[[nodiscard]] Result<std::vector<SafetensorsFile>> open_checkpoint(const std::filesystem::path& file);
/// Whether open_checkpoint() would find something to open.
[[nodiscard]] bool checkpoint_exists(const std::filesystem::path& file);

/// A tensor to be written or digested; borrows its numbers.
struct TensorView {
  std::string name;
  std::vector<std::int64_t> shape;
  std::span<const float> data;
};

/// Writes float32 tensors beside `file` under a temporary name, syncs and renames: after a crash the old file or the new
/// one is there, whole. Tensors are laid out in the order given; their names must differ.
[[nodiscard]] Result<void> write_safetensors(const std::filesystem::path& file, std::span<const TensorView> tensors,
                                             const std::map<std::string, std::string>& metadata);

/// SHA-256, in hexadecimal, over the tensors in the order of their names: name, "F32", shape and little-endian elements, each
/// preceded by its length in bytes (8 bytes, little-endian; the shape as 8-byte numbers).
[[nodiscard]] std::string weights_digest(std::vector<TensorView> tensors);

/// The tensors of `layout`, over its flat array.
[[nodiscard]] std::vector<TensorView> tensor_views(const ModelLayout& layout, std::span<const float> flat, std::string_view prefix = {});
/// Whether `files`, of which no two hold the same name, hold exactly the tensors of `layout` (each name behind `prefix`). What known
/// writers add without need, a copy of a tied output matrix and rotary frequencies, is overlooked.
[[nodiscard]] Result<void> check_tensors(std::span<const SafetensorsFile> files, const ModelLayout& layout, std::string_view prefix = {});
/// Reads them into the flat array, which has layout.total elements. A copy of a tied output matrix that is none is
/// ErrorCode::invalid_input.
[[nodiscard]] Result<void> read_tensors(std::span<const SafetensorsFile> files, const ModelLayout& layout, std::span<float> flat,
                                        std::string_view prefix = {});
[[nodiscard]] inline Result<void> read_tensors(const SafetensorsFile& file, const ModelLayout& layout, std::span<float> flat,
                                               std::string_view prefix = {}) {
  return read_tensors({&file, 1}, layout, flat, prefix);
}

}  // namespace pipestill
