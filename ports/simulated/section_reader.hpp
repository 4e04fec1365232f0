#pragma once
// Reads an adapter's keys from its section of a resolved recipe.
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "graph/base/error.hpp"
#include "ports/simulated/latency.hpp"

namespace pipestill {

/// Keys are paths with dots. A key that is missing or null has its default; one of another type is an error, of which the first is kept.
/// Ranges are for the options' own validation.
class SectionReader {
 public:
  explicit SectionReader(const boost::json::object& section) : section_(section) {}

  [[nodiscard]] double number(std::string_view path, double fallback);
  [[nodiscard]] std::int64_t integer(std::string_view path, std::int64_t fallback);
  [[nodiscard]] int integer32(std::string_view path, int fallback);  ///< an error too where the number is out of int's range
  [[nodiscard]] bool boolean(std::string_view path, bool fallback);
  [[nodiscard]] std::string string(std::string_view path, std::string fallback);
  /// The keys under `latency`; `defaults` for those that are missing.
  [[nodiscard]] LatencyOptions latency(LatencyOptions defaults);

  /// The first error, ErrorCode::invalid_input with the key's path.
  [[nodiscard]] Result<void> status() const;

 private:
  [[nodiscard]] const boost::json::value* find(std::string_view path) const;
  void keep_error(std::string_view path, std::string_view expected);
  const boost::json::object& section_;
  std::optional<Error> error_;
};

}  // namespace pipestill
