#include "ports/telemetry/jsonl_telemetry.hpp"

#include <boost/json/serialize.hpp>
#include <cmath>
#include <string>
#include <utility>

namespace pipestill {

std::string metrics_line(std::uint64_t step, const boost::json::object& values) {
  boost::json::object line{{"step", step}};
  for (const auto& [key, value] : values) {
    if (value.is_double() && !std::isfinite(value.get_double())) {
      line.emplace(key, nullptr);
    } else {
      line.emplace(key, value);  // keeps our `step` if there is another
    }
  }
  return boost::json::serialize(line) + "\n";
}

Result<std::unique_ptr<JsonlTelemetry>> JsonlTelemetry::open(const std::filesystem::path& path, OutputFile::Mode mode) {
  auto file = OutputFile::open(path, mode);
  if (!file) return fail(std::move(file).error());
  return std::unique_ptr<JsonlTelemetry>(new JsonlTelemetry(std::move(*file)));
}

void JsonlTelemetry::metrics(std::uint64_t step, const boost::json::object& values) {
  const auto line = metrics_line(step, values);
  std::lock_guard lock(mutex_);
  file_.write(line);
}

Result<void> JsonlTelemetry::close() {
  std::lock_guard lock(mutex_);
  return file_.close();
}

}  // namespace pipestill
