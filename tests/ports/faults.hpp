#pragma once
// Faults of the disk in a test's own process.
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "ports/fault_point.hpp"

namespace pipestill::testing {

/// While it lives, the points of this process look at PIPESTILL_FAULT=`fault`.
class Faults {
 public:
  explicit Faults(const std::string& fault) { set(fault.c_str()); }
  ~Faults() {
    ::unsetenv("PIPESTILL_FAULT");
    forget_fault_plan();
  }
  Faults(const Faults&) = delete;
  Faults& operator=(const Faults&) = delete;
  static void set(const char* fault) {
    ::setenv("PIPESTILL_FAULT", fault, 1);
    forget_fault_plan();
  }
};

/// Runs `body`, and notes in `trace` the points that it passes.
template <class Body>
void trace_points(const std::filesystem::path& trace, const Body& body) {
  ::setenv("PIPESTILL_FAULT_TRACE", trace.c_str(), 1);
  forget_fault_plan();
  body();
  ::unsetenv("PIPESTILL_FAULT_TRACE");
  forget_fault_plan();
}

/// How often each was passed.
inline std::map<std::string, std::uint64_t> points_in(const std::filesystem::path& trace) {
  std::map<std::string, std::uint64_t> points;
  std::ifstream lines(trace);
  for (std::string line; std::getline(lines, line);) {
    if (line.find(' ') == std::string::npos) ++points[line];  // the others are facts
  }
  return points;
}

}  // namespace pipestill::testing
