#include "ports/simulated/section_reader.hpp"

#include <utility>

#include "ports/printable.hpp"

namespace pipestill {

const boost::json::value* SectionReader::find(std::string_view path) const {
  const boost::json::object* object = &section_;
  for (;;) {
    const std::size_t dot = path.find('.');
    const auto key = path.substr(0, dot);
    const boost::json::value* value = object->if_contains({key.data(), key.size()});
    if (!value || value->is_null()) return nullptr;
    if (dot == std::string_view::npos) return value;
    object = value->if_object();
    if (!object) return value;  // of the wrong type, as the caller will say
    path.remove_prefix(dot + 1);
  }
}

void SectionReader::keep_error(std::string_view path, std::string_view expected) {
  if (!error_) error_ = Error{ErrorCode::invalid_input, std::string(path) + " must be " + std::string(expected)};
}

double SectionReader::number(std::string_view path, double fallback) {
  const auto* value = find(path);
  if (!value) return fallback;
  if (value->is_number()) return value->to_number<double>();
  keep_error(path, "a number");
  return fallback;
}

std::int64_t SectionReader::integer(std::string_view path, std::int64_t fallback) {
  const auto* value = find(path);
  if (!value) return fallback;
  boost::json::error_code ec;
  const auto number = value->to_number<std::int64_t>(ec);
  if (!ec) return number;
  keep_error(path, "a whole number");
  return fallback;
}

int SectionReader::integer32(std::string_view path, int fallback) {
  const std::int64_t number = integer(path, fallback);
  if (std::in_range<int>(number)) return static_cast<int>(number);
  keep_error(path, "a whole number of 32 bits");
  return fallback;
}

bool SectionReader::boolean(std::string_view path, bool fallback) {
  const auto* value = find(path);
  if (!value) return fallback;
  if (const auto* truth = value->if_bool()) return *truth;
  keep_error(path, "true or false");
  return fallback;
}

std::string SectionReader::string(std::string_view path, std::string fallback) {
  const auto* value = find(path);
  if (!value) return fallback;
  if (const auto* text = value->if_string()) return {text->data(), text->size()};
  keep_error(path, "a string");
  return fallback;
}

LatencyOptions SectionReader::latency(LatencyOptions defaults) {
  using Distribution = LatencyOptions::Distribution;
  LatencyOptions options = defaults;
  const std::string name = string("latency.distribution", "");
  if (name == "fixed") {
    options.distribution = Distribution::fixed;
  } else if (name == "uniform") {
    options.distribution = Distribution::uniform;
  } else if (name == "lognormal") {
    options.distribution = Distribution::lognormal;
  } else if (!name.empty()) {
    keep_error("latency.distribution", "fixed, uniform or lognormal, not \"" + printable(name) + "\"");
  }
  options.mean_ms = number("latency.mean_ms", defaults.mean_ms);
  options.min_ms = number("latency.min_ms", defaults.min_ms);
  options.max_ms = number("latency.max_ms", defaults.max_ms);
  options.sigma = number("latency.sigma", defaults.sigma);
  options.straggler_rate = number("latency.straggler_rate", defaults.straggler_rate);
  options.straggler_factor = number("latency.straggler_factor", defaults.straggler_factor);
  options.seed = static_cast<std::uint64_t>(integer("latency.seed", static_cast<std::int64_t>(defaults.seed)));
  return options;
}

Result<void> SectionReader::status() const {
  if (error_) return fail(*error_);
  return {};
}

}  // namespace pipestill
