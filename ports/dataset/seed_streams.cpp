#include "ports/dataset/seed_streams.hpp"

#include <array>

#include "ports/dataset/seed_sequence.hpp"
#include "ports/sha256.hpp"

namespace pipestill {

std::uint64_t draw_seed(const BigSeed& run_seed, std::string_view stream, std::uint64_t dataset, std::uint64_t epoch, std::uint64_t row,
                        std::uint64_t sample) {
  const Sha256Digest name = sha256(stream);
  std::uint64_t stream_word = 0;
  for (std::size_t i = 0; i < 4; ++i) stream_word = stream_word << 8 | name[i];
  const std::array<std::uint64_t, 5> spawn_key{stream_word, dataset, epoch, row, sample};
  return SeedSequence(run_seed, spawn_key).generate_state64(1).front();
}

}  // namespace pipestill
