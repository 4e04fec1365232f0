#pragma once
// What the fuzz targets share. A target is PIPESTILL_FUZZ_TARGET(name) { ... return 0; }, a function of `data` and `size`: libFuzzer calls it under
// the preset `fuzz`, replay.cpp, which has all of them, calls it with the committed corpus in every other build.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string_view>

#include "graph/base/error.hpp"

namespace pipestill::fuzz {

using Target = int (*)(const std::uint8_t* data, std::size_t size);
/// Makes a target known to replay.cpp by its name.
struct ReplayedTarget {
  ReplayedTarget(const char* name, Target target);
};

/// Ends the program with `what` unless `holds`: libFuzzer then keeps the input that did it.
void require(bool holds, std::string_view what);

/// The bytes as a file, in place of what was there.
void write_input(const std::filesystem::path& file, const std::uint8_t* data, std::size_t size);

/// The input was refused as it should be: as the user's mistake, in one line of UTF-8 that is neither empty nor endless and that no
/// terminal takes for a command.
void require_sound_refusal(const Error& error);

/// A directory in memory where there is one, of this process alone, removed at its end: for what can only be written to files.
[[nodiscard]] const std::filesystem::path& scratch_directory();

}  // namespace pipestill::fuzz

#ifdef PIPESTILL_REPLAY
#define PIPESTILL_FUZZ_TARGET(name)                                                   \
  static int replay_##name(const std::uint8_t* data, std::size_t size);               \
  static const ::pipestill::fuzz::ReplayedTarget kReplayed_##name(#name, replay_##name); \
  static int replay_##name(const std::uint8_t* data, std::size_t size)
#else
#define PIPESTILL_FUZZ_TARGET(name)                                                   \
  extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);  \
  int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
#endif
