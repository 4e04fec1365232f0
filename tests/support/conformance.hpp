#pragma once
// Data that the project must agree with and does not ship: outputs of the reference implementations, over third-party vocabularies.
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <string>

namespace pipestill::test {

/// $PIPESTILL_CONFORMANCE_DIR, else ../shared/conformance beside the checkout. Empty if it is not there: the test then prints
/// kNoConformance, by which ctest counts it as skipped.
inline std::optional<std::filesystem::path> conformance_dir() {
  const char* named = std::getenv("PIPESTILL_CONFORMANCE_DIR");
  const std::filesystem::path dir = named ? named : PIPESTILL_SOURCE_DIR "/../shared/conformance";
  if (std::filesystem::is_directory(dir)) return dir;
  return std::nullopt;
}

inline constexpr const char* kNoConformance = "skipped: no conformance data; set PIPESTILL_CONFORMANCE_DIR";

/// Throws if it cannot be read.
inline boost::json::value read_json(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot open " + path.string());
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  boost::json::parse_options options;
  options.max_depth = 64;
  return boost::json::parse(text, {}, options);
}

}  // namespace pipestill::test
