// pipestill check: whether a recipe can run, and what it would do.
#include <spdlog/fmt/fmt.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <memory>
#include <utility>

#include "app/commands.hpp"
#include "app/exit_status.hpp"
#include "app/recipe_arguments.hpp"
#include "nodes/distillation.hpp"

namespace pipestill::app {
namespace {

enum class Output { text, json, dot };

/// Of a mix: whose rows, how many, and how they are asked for.
std::string describe_dataset(const Recipe& recipe, const Recipe::Teachers& teachers, std::size_t number, std::uint64_t rows) {
  const auto& dataset = recipe.dataset_at(number);
  auto text = fmt::format("dataset {}: {}, {} rows, {} a batch, renderer {}", number, dataset.path.string(), rows, dataset.groups_per_batch, recipe.rendering_of(number).renderer);
  if (teachers.opened.size() > 1) text += fmt::format(", asks {} ({})", teachers.opened[teachers.of_dataset[number]].key, recipe.teacher_of(number).teacher_model);
  return text;
}

int run_check(const RecipeArguments& arguments, Output output) {
  const auto recipe = arguments.read();
  if (!recipe) return report(recipe.error());
  const auto ports = make_ports(*recipe, std::make_shared<SystemClock>(), nullptr);
  if (!ports) return report(ports.error());
  const auto plan = plan_run(*recipe, *ports);
  if (!plan) return report(plan.error());
  if (output == Output::dot) {
    std::fputs(draw_flow(*recipe).c_str(), stdout);
  } else if (output == Output::json) {
    boost::json::array opened;
    for (const auto& dataset : plan->datasets) opened.push_back(boost::json::object{{"rows", dataset.rows}, {"fingerprint", dataset.fingerprint}});
    std::puts(boost::json::serialize(boost::json::object{{"rows", plan->rows}, {"datasets", std::move(opened)}, {"batches_per_epoch", plan->batches_per_epoch}, {"total_steps", plan->total_steps},
                                                         {"identity", recipe->identity()}, {"recipe", recipe->resolved}}).c_str());
  } else {
    std::printf("%s\n%llu rows, %llu batches an epoch, %llu steps; recipe identity %.16s\n", describe_flow(*recipe).c_str(), static_cast<unsigned long long>(plan->rows),
                static_cast<unsigned long long>(plan->batches_per_epoch), static_cast<unsigned long long>(plan->total_steps), recipe->identity().c_str());
    for (std::size_t i = 0; plan->datasets.size() > 1 && i < plan->datasets.size(); ++i) {
      std::puts(describe_dataset(*recipe, recipe->teachers(), i, plan->datasets[i].rows).c_str());
    }
    for (const auto& reason : plan->nondeterminism) std::printf("not repeatable: %s\n", reason.c_str());
  }
  return kDone;
}

}  // namespace

void add_check(CLI::App& program, Action& action) {
  struct Arguments {
    RecipeArguments recipe;
    bool json = false, dot = false;
  };
  const auto arguments = std::make_shared<Arguments>();
  auto& command = *program.add_subcommand("check", "Validate a recipe and show its graph and its plan; opens no model and asks no teacher");
  arguments->recipe.add_to(command);
  command.add_flag("--json", arguments->json, "Print one JSON object, with the resolved recipe");
  command.add_flag("--dot", arguments->dot, "Print the graph in the DOT language of Graphviz")->excludes("--json");
  command.footer("Example: pipestill check examples/tasks/distill.json\n         pipestill check examples/tasks/distill.json --dot | dot -Tsvg > flow.svg");
  command.callback([arguments, &action] { action = [arguments] { return run_check(arguments->recipe, arguments->dot ? Output::dot : arguments->json ? Output::json : Output::text); }; });
}

}  // namespace pipestill::app
