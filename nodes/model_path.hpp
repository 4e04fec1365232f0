#pragma once
// A model as a recipe names it.
#include <filesystem>
#include <string>
#include <system_error>

#include "nodes/recipe.hpp"
#include "ports/types.hpp"

namespace pipestill {

/// A path of the recipe made absolute, where something stands there; else the name as it was written, for clients that know models by name.
[[nodiscard]] inline std::string locate_model(const Recipe& recipe, const std::string& name) {
  if (name.empty()) return name;
  std::error_code ignored;  // an unreadable directory is the client's to complain about
  const auto path = recipe.locate(name);
  return std::filesystem::exists(path, ignored) ? path.string() : name;
}

[[nodiscard]] inline ModelRef teacher_model(const Recipe& recipe, const Recipe::Teacher& teacher) {
  return {locate_model(recipe, teacher.teacher_model), locate_model(recipe, teacher.teacher_checkpoint_path)};
}
[[nodiscard]] inline ModelRef student_model(const Recipe& recipe) { return {locate_model(recipe, recipe.student.model), ""}; }

}  // namespace pipestill
