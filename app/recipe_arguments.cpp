#include "app/recipe_arguments.hpp"

namespace pipestill::app {

void RecipeArguments::add_to(CLI::App& command, Need need) {
  command.add_option("RECIPE", recipe, "A recipe file")->required(need == Need::required);
  command.add_option("--schedule", schedule, "sequential (one batch at a time) or pipelined; the result is the same")->check(CLI::IsMember({"sequential", "pipelined"}));
  command.add_option("--depth", depth, "Batches in flight (engine.depth)");
  command.add_option("--threads", threads, "Engine threads, 0 for one a core (engine.threads)");
  command.add_option("--seed", seed, "A whole number of any size (seed)");
  command.add_option("--set", sets, "key.path=value: overrides a key of the recipe; may be given more than once")->expected(1)->allow_extra_args(false)->take_all();
  command.add_flag("--trace", trace, "Write trace.json, to be opened at ui.perfetto.dev (telemetry.trace)");
}

Result<std::vector<Override>> RecipeArguments::overrides() const {
  if (schedule == "sequential" && depth && *depth != "1") {
    return fail(ErrorCode::invalid_input, "--schedule sequential has one batch in flight, and --depth " + *depth + " asks for another number: leave one of them out");
  }
  std::vector<Override> overrides;
  for (const auto& text : sets) {
    auto parsed = parse_override(text);
    if (!parsed) return fail(std::move(parsed.error()));
    overrides.push_back(*std::move(parsed));
  }
  // The flags come last: they are the more particular word.
  if (schedule == "sequential") overrides.push_back({"engine.depth", "1"});
  if (depth) overrides.push_back({"engine.depth", *depth});
  if (threads) overrides.push_back({"engine.threads", *threads});
  if (seed) overrides.push_back({"seed", *seed});
  if (trace) overrides.push_back({"telemetry.trace", "true"});
  return overrides;
}

Result<Recipe> RecipeArguments::read() const {
  const auto changes = overrides();
  if (!changes) return fail(changes.error());
  return read_recipe(recipe, *changes);
}

}  // namespace pipestill::app
