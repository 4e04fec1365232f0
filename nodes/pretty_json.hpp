#pragma once
// JSON for people: two spaces a level, short arrays and objects on one line.
#include <boost/json/value.hpp>
#include <string>

namespace pipestill {

[[nodiscard]] std::string to_pretty_json(const boost::json::value& value);

}  // namespace pipestill
