#pragma once
// How values of ours become JSON values.
#include <boost/json/value.hpp>
#include <chrono>
#include <optional>

namespace pipestill {

[[nodiscard]] inline double milliseconds(std::chrono::nanoseconds time) { return static_cast<double>(time.count()) / 1e6; }

/// Missing is null, never a number.
template <class T>
[[nodiscard]] boost::json::value or_null(const std::optional<T>& value) {
  return value ? boost::json::value(*value) : boost::json::value(nullptr);
}

}  // namespace pipestill
