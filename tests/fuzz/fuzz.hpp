#pragma once
// What the fuzz targets share. A target is one function, LLVMFuzzerTestOneInput: libFuzzer calls it under the preset `fuzz`, replay.cpp calls
// it with the committed corpus in every other build.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string_view>

#include "graph/base/error.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace pipestill::fuzz {

/// Ends the program with `what` unless `holds`: libFuzzer then keeps the input that did it.
void require(bool holds, std::string_view what);

/// The input was refused as it should be: as the user's mistake, in one line of UTF-8 that is neither empty nor endless and that no
/// terminal takes for a command.
void require_sound_refusal(const Error& error);

/// A directory in memory where there is one, of this process alone, removed at its end: for what can only be written to files.
[[nodiscard]] const std::filesystem::path& scratch_directory();

}  // namespace pipestill::fuzz
