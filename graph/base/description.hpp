#pragma once
// Description: what a stage or an adapter says about itself. `pipestill describe`, recipe validation and the README's table are made from it.
#include <optional>
#include <string>
#include <vector>

namespace pipestill {

/// One recipe key that a stage or an adapter reads.
struct KeyInfo {
  enum class Type { boolean, integer, number, string, string_list, section };

  std::string name = {};      ///< path with dots. Of a stage: from the recipe's root; of an adapter: from its section
  Type type = Type::string;
  std::string default_value = {};  ///< as JSON text; empty: none
  std::string help = {};      ///< one line, with the unit
  bool is_required = false;
  bool is_nullable = false;
  std::vector<std::string> choices = {};       ///< of a string; empty: any
  std::optional<double> minimum = std::nullopt, maximum = std::nullopt;  ///< of a number, inclusive
};

struct Description {
  std::string name;
  std::string summary;  ///< one line
  std::vector<KeyInfo> keys = {};
};

}  // namespace pipestill
