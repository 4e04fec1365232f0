#include "nodes/pretty_json.hpp"

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <cmath>

#include <spdlog/fmt/fmt.h>

namespace pipestill {
namespace {

bool is_flat(const boost::json::value& value) {
  const auto is_scalar = [](const boost::json::value& v) { return !v.is_structured(); };
  if (const auto* array = value.if_array()) return std::all_of(array->begin(), array->end(), is_scalar);
  return is_scalar(value);
}

void write(const boost::json::value& value, std::string indent, std::string& out) {
  const auto inner = indent + "  ";
  if (const auto* object = value.if_object(); object && !object->empty()) {
    const char* separator = "{\n";
    for (const auto& [key, member] : *object) {
      out += separator + inner + boost::json::serialize(boost::json::string(key)) + ": ";
      write(member, inner, out);
      separator = ",\n";
    }
    out += "\n" + indent + "}";
  } else if (const auto* array = value.if_array(); array && !is_flat(value)) {
    const char* separator = "[\n";
    for (const auto& member : *array) {
      out += separator + inner;
      write(member, inner, out);
      separator = ",\n";
    }
    out += "\n" + indent + "]";
  } else if (const auto* number = value.if_double(); number && std::isfinite(*number)) {
    out += fmt::format("{}", *number);  // the shortest text that reads back as the same number; Boost.JSON would write 1E-1
  } else {
    out += boost::json::serialize(value);
  }
}

}  // namespace

std::string to_pretty_json(const boost::json::value& value) {
  std::string out;
  write(value, "", out);
  return out;
}

}  // namespace pipestill
