#pragma once
// One stream of seeds for every kind of random draw, so that no draw depends on what was drawn before it.
#include <cstdint>
#include <string_view>

#include "ports/dataset/big_seed.hpp"

namespace pipestill {

/// The first 64-bit word of numpy.random.SeedSequence(run_seed, spawn_key=[w, dataset, epoch, row, sample]), where w is
/// the first 4 bytes, most significant first, of SHA-256 of the stream's name. Depends neither on batch size nor on order.
[[nodiscard]] std::uint64_t draw_seed(const BigSeed& run_seed, std::string_view stream, std::uint64_t dataset, std::uint64_t epoch,
                                      std::uint64_t row, std::uint64_t sample);

}  // namespace pipestill
