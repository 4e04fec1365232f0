#include "ports/datum_digest.hpp"

#include <bit>
#include <string_view>
#include <type_traits>

#include "ports/sha256.hpp"

namespace pipestill {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers enter the digest as they lie in memory, least significant byte first");

template <class T>
void add_numbers(Sha256& hash, const std::vector<T>& values) {
  static_assert(std::is_arithmetic_v<T>);
  hash.number(values.size());
  hash.update({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)});
}

void add_tensor(Sha256& hash, const TensorData& tensor) {
  hash.number(tensor.data.index());  // the type: 0 int64, 1 float32
  add_numbers(hash, tensor.shape);
  std::visit([&](const auto& values) { add_numbers(hash, values); }, tensor.data);
}

}  // namespace

std::string datum_digest(std::span<const Datum> datums) {
  Sha256 hash;
  hash.field("pipestill datums 1").number(datums.size());
  for (const Datum& datum : datums) {
    hash.number(datum.model_input.chunks.size());
    for (const EncodedTextChunk& chunk : datum.model_input.chunks) add_numbers(hash, chunk.tokens);
    hash.number(datum.loss_fn_inputs.size());
    for (const auto& [name, tensor] : datum.loss_fn_inputs) {  // a std::map: in the order of the names
      hash.field(name);
      add_tensor(hash, tensor);
    }
  }
  return to_hex(hash.finish());
}

}  // namespace pipestill
