#pragma once
// The arguments by which `run` and `check` name and change a recipe.
#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "nodes/recipe.hpp"

namespace pipestill::app {

struct RecipeArguments {
  std::string recipe;
  std::optional<std::string> schedule, seed, depth, threads;  // as they were typed: the recipe checks them
  std::vector<std::string> sets;
  bool trace = false;

  enum class Need { required, optional };
  void add_to(CLI::App& command, Need need = Need::required);
  [[nodiscard]] Result<Recipe> read() const;
  /// What the flags change.
  [[nodiscard]] Result<std::vector<Override>> overrides() const;
};

}  // namespace pipestill::app
