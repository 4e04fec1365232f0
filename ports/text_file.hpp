#pragma once
// Small files, whole: vocabularies, configurations, states.
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "graph/base/error.hpp"

namespace pipestill {

/// The content. A file that is missing, unreadable or larger than `max_bytes` is ErrorCode::invalid_input, naming it.
[[nodiscard]] Result<std::string> read_text_file(const std::filesystem::path& path, std::uint64_t max_bytes = std::uint64_t{64} << 20);
/// Replaces the file. Not atomic: who needs that writes beside and renames. ErrorCode::backend_failed, naming the file.
[[nodiscard]] Result<void> write_text_file(const std::filesystem::path& path, std::string_view text);

}  // namespace pipestill
