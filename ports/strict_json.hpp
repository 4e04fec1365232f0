#pragma once
// Strict JSON: what files that people write or hand on are read with. It refuses what a lenient reader would settle without a word.
#include <boost/json/value.hpp>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "graph/base/error.hpp"

namespace pipestill {

inline constexpr std::size_t kMaxJsonBytes = 4 * 1024 * 1024;
inline constexpr std::size_t kMaxJsonDepth = 32;

/// Parses exactly one JSON value (RFC 8259: no comments, no trailing commas).
/// ErrorCode::invalid_input, one sentence that begins with `name:line:column` (from 1, in characters), for: a syntax error, an object that
/// gives a key twice, more than kMaxJsonDepth levels, a number that no 64-bit integer or double can hold. Text above `max_bytes` is
/// refused unread. Decimal fractions are rounded correctly, which Boost.JSON's own parser does not promise.
[[nodiscard]] Result<boost::json::value> parse_strict_json(std::string_view text, const std::string& name,
                                                           std::size_t max_bytes = kMaxJsonBytes);

/// The same for a line of a file that holds a value a line. Lines come from other programs, which write numbers of any size: one that fits
/// neither 64 bits nor a double becomes the nearest double, or an infinity.
struct JsonLineOptions {
  std::uint64_t line = 1;  ///< its number in the file, for error texts
  std::size_t max_bytes = kMaxJsonBytes, max_depth = kMaxJsonDepth;
};
[[nodiscard]] Result<boost::json::value> parse_strict_json_line(std::string_view text, const std::string& name, const JsonLineOptions& options);

}  // namespace pipestill
