// pipeline: a recipe on real models, sequential against pipelined, in pairs.
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include <spdlog/fmt/fmt.h>

#include "bench/harness.hpp"
#include "bench/scenarios.hpp"
#include "nodes/distillation.hpp"

namespace json = boost::json;

namespace pipestill::bench {
namespace {

struct PipelineArguments {
  std::string recipe = "examples/tasks/distill.json";
  std::size_t pairs = 5, depth = 0;
  std::uint64_t steps = 200;
  bool json = false;
};

Result<RunSummary> run_once(const PipelineArguments& arguments, bool is_sequential) {
  std::vector<Override> overrides{{"training.max_steps", std::to_string(arguments.steps)}};
  if (is_sequential) overrides.push_back({"engine.depth", "1"});
  else if (arguments.depth) overrides.push_back({"engine.depth", std::to_string(arguments.depth)});
  auto recipe = read_recipe(arguments.recipe, overrides);
  if (!recipe) return fail(std::move(recipe.error()));
  recipe->evaluation.reset();  // measured is the training, not what is asked about it
  auto ports = make_ports(*recipe, std::make_shared<SystemClock>(), nullptr);
  if (!ports) return fail(std::move(ports.error()));
  auto summary = distil(*recipe, *ports);
  if (summary.failure) return fail(summary.failure->error);
  return summary;
}

struct Side {
  std::vector<double> wall, cpu, busy;
  void add(const RunSummary& s) {
    wall.push_back(s.wall_s);
    cpu.push_back(s.cpu_s);
    busy.push_back(s.overlap_busy.value_or(0));
  }
};

int run_pipeline(const PipelineArguments& arguments) {
  if (auto warm_up = run_once({.recipe = arguments.recipe, .steps = 5}, false); !warm_up) return refuse(warm_up.error());
  const ForeignLoad load;
  Side sequential, pipelined;
  std::vector<double> wall_ratio, cpu_ratio;
  std::string digest;
  std::uint64_t tokens = 0, sampled = 0;
  bool is_same = true;
  for (std::size_t k = 0; k < arguments.pairs; ++k) {
    for (const bool is_sequential : {k % 2 == 0, k % 2 != 0}) {  // who goes first alternates
      const auto summary = run_once(arguments, is_sequential);
      if (!summary) return refuse(summary.error());
      (is_sequential ? sequential : pipelined).add(*summary);
      const auto teacher_tokens = summary->teachers.empty() ? 0 : summary->teachers.front().tokens;
      if (digest.empty()) {
        digest = summary->weights_digest.value_or("");
        tokens = summary->totals.num_tokens;
        sampled = teacher_tokens;
      }
      is_same = is_same && digest == summary->weights_digest && tokens == summary->totals.num_tokens && sampled == teacher_tokens;
    }
    wall_ratio.push_back(sequential.wall.back() / pipelined.wall.back());
    cpu_ratio.push_back(pipelined.cpu.back() / sequential.cpu.back());
    if (!arguments.json) std::fprintf(stderr, "pair %zu of %zu: sequential %.2f s, pipelined %.2f s, ratio %.2f\n", k + 1, arguments.pairs, sequential.wall.back(), pipelined.wall.back(), wall_ratio.back());
  }
  const auto facts = context(load);
  const auto wall = spread(wall_ratio), cpu = spread(cpu_ratio);
  if (arguments.json) {
    const auto side = [](const Side& s) { return json::object{{"wall_s", to_json(spread(s.wall))}, {"cpu_s", to_json(spread(s.cpu))}, {"overlap_busy", to_json(spread(s.busy))}}; };
    std::puts(json::serialize(json::object{{"scenario", "pipeline"}, {"recipe", arguments.recipe}, {"steps", arguments.steps}, {"pairs", arguments.pairs},
                                           {"sequential", side(sequential)}, {"pipelined", side(pipelined)}, {"wall_ratio", to_json(wall)}, {"cpu_ratio", to_json(cpu)},
                                           {"same_bytes", is_same}, {"weights_digest", digest}, {"num_tokens", tokens}, {"teacher_tokens", sampled}, {"context", facts}}).c_str());
  } else {
    const auto line = [](const char* what, const Spread& s) { fmt::print("{:<44}{:>9.3f}   ({:.3f} to {:.3f})\n", what, s.median, s.min, s.max); };
    fmt::print("{} steps of {}, {} pairs; median (min to max)\n", arguments.steps, arguments.recipe, arguments.pairs);
    line("sequential, wall s", spread(sequential.wall));
    line("pipelined, wall s", spread(pipelined.wall));
    line("wall: sequential over pipelined", wall);
    line("CPU: pipelined over sequential", cpu);
    line("overlap.busy, sequential", spread(sequential.busy));
    line("overlap.busy, pipelined", spread(pipelined.busy));
    fmt::print("{} training tokens, {} teacher tokens; {}: {}\n{}", tokens, sampled, is_same ? "the same bytes in every run" : "DIFFERENT BYTES between runs", digest, context_line(facts));
  }
  return is_same ? 0 : 1;
}

}  // namespace

void add_pipeline(CLI::App& program, Action& action) {
  const auto arguments = std::make_shared<PipelineArguments>();
  auto& command = *program.add_subcommand("pipeline", "A recipe sequential against pipelined, in pairs: wall ratio, CPU ratio, the same bytes");
  command.add_option("RECIPE", arguments->recipe, "A recipe file")->capture_default_str();
  command.add_option("--pairs", arguments->pairs, "Measured pairs")->capture_default_str()->check(CLI::PositiveNumber);
  command.add_option("--steps", arguments->steps, "Batches of a run")->capture_default_str()->check(CLI::PositiveNumber);
  command.add_option("--depth", arguments->depth, "Of the pipelined runs (default: the recipe's)");
  command.add_flag("--json", arguments->json, "Print one JSON object");
  command.footer("Example: pipestill-bench pipeline examples/tasks/distill.json --pairs 5");
  command.callback([arguments, &action] { action = [arguments] { return run_pipeline(*arguments); }; });
}

}  // namespace pipestill::bench
