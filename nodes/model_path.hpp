#pragma once
// A model as a recipe names it.
#include <filesystem>
#include <string>
#include <system_error>

#include "nodes/recipe.hpp"

namespace pipestill {

/// A path of the recipe made absolute, where something stands there; else the name as it was written, for clients that know models by name.
[[nodiscard]] inline std::string locate_model(const Recipe& recipe, const std::string& name) {
  if (name.empty()) return name;
  std::error_code ignored;  // an unreadable directory is the client's to complain about
  const auto path = recipe.locate(name);
  return std::filesystem::exists(path, ignored) ? path.string() : name;
}

}  // namespace pipestill
