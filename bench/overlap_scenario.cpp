// overlap: simulated models against the exact makespan of the latencies that they draw.
#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <spdlog/fmt/fmt.h>

#include "bench/harness.hpp"
#include "bench/makespan.hpp"
#include "bench/scenarios.hpp"
#include "nodes/distillation.hpp"
#include "ports/dataset/memory_store.hpp"
#include "ports/dataset/seed_streams.hpp"
#include "ports/sampling/sampling_factory.hpp"
#include "ports/simulated/latency.hpp"
#include "ports/training/training_factory.hpp"

namespace json = boost::json;

namespace pipestill::bench {
namespace {

constexpr double kOverlapGoal = 0.97;          // of the bound, on the real clock, ...
constexpr std::size_t kGoalDepth = 4;   // ... at this depth and above
constexpr std::array<std::size_t, 4> kDepths{1, 2, 4, 8};

/// How long the teacher takes; a training step takes 10 ms in all.
struct Workload {
  const char* name;
  const char* latency;  ///< teacher.latency as the recipe has it, ...
  LatencyOptions options;  ///< ... and as the bound draws from it
};
const std::array<Workload, 3> kWorkloads{{
    {"fixed 20 ms", R"({"distribution": "fixed", "mean_ms": 20})", {.mean_ms = 20}},
    {"uniform 5 to 35 ms", R"({"distribution": "uniform", "min_ms": 5, "max_ms": 35})",
     {.distribution = LatencyOptions::Distribution::uniform, .min_ms = 5, .max_ms = 35}},
    {"lognormal, mean 20 ms, sigma 1", R"({"distribution": "lognormal", "mean_ms": 20, "sigma": 1})",
     {.distribution = LatencyOptions::Distribution::lognormal, .mean_ms = 20, .sigma = 1}},
}};

struct OverlapArguments {
  std::size_t repetitions = 3;
  std::uint64_t batches = 100;
  graph::Executor executor = graph::Executor::flow_graph;
  bool json = false;
};

Result<Recipe> recipe_of(const Workload& workload, std::size_t depth) {
  const auto text = fmt::format(R"({{"method": "off_policy", "seed": 1, "dataset": {{"path": "memory", "shuffle": false}},
    "teacher": {{"client": "simulated", "max_tokens": 8, "latency": {}}},
    "student": {{"client": "simulated", "tokenizer": "bytes", "renderer": "role_tokens", "latency": {{"distribution": "fixed", "mean_ms": 10}}}},
    "training": {{"batch_size": 1}}, "engine": {{"depth": {}}}}})", workload.latency, depth);
  return parse_recipe(text, "overlap scenario", ".", {});
}

/// What the models of that recipe will draw.
struct Draws {
  std::vector<std::chrono::nanoseconds> teacher, training;
};
Draws draws_of(const Workload& workload, const BigSeed& seed, std::uint64_t batches) {
  const LatencyModel teacher(workload.options), training({.mean_ms = 10});
  Draws draws;
  for (std::uint64_t n = 0; n < batches; ++n) {
    draws.teacher.push_back(teacher.draw(draw_seed(seed, "teacher_sampling", 0, 0, n, 0)));
    draws.training.push_back(training.draw(n));
  }
  return draws;
}

Result<Taken> run(const Recipe& recipe, std::uint64_t batches, std::shared_ptr<Clock> clock, graph::Executor executor) {
  DistillationPorts ports;
  auto made = make_sampling_client(recipe.resolved.at("teacher").as_object(), clock);
  if (!made) return fail(std::move(made.error()));
  ports.teacher = *std::move(made);
  auto trained = make_training_client(recipe.resolved.at("student").as_object(), clock);
  if (!trained) return fail(std::move(trained.error()));
  ports.student = *std::move(trained);
  std::vector<json::object> rows;
  for (std::uint64_t n = 0; n < batches; ++n) rows.push_back({{"prompt", "row " + std::to_string(n)}});
  ports.dataset = std::make_shared<MemoryStore>(std::move(rows));
  ports.tokenizer = *Tokenizer::load("bytes");
  ports.renderer = *Renderer::make("role_tokens", ports.tokenizer);
  ports.clock = std::move(clock);
  const auto summary = distil(recipe, ports, {.executor = executor});
  if (summary.failure) return fail(summary.failure->error);
  return Taken{summary.wall_s, summary.cpu_s};
}

/// One workload at one depth.
struct Case {
  const Workload* workload;
  std::size_t depth;
  Recipe recipe;
  double bound_s;             ///< exact makespan, in sequence
  double completion_order_s;  ///< exact makespan if batches trained in the order of their answers
  double simulated;           ///< bound over time taken, on the simulated clock
  std::vector<double> wall = {}, lost_us = {}, cpu_ms = {};  ///< bound over time taken; a batch: time beyond the bound, processor time

  [[nodiscard]] bool has_goal() const { return depth >= kGoalDepth; }
};

Result<Case> make_case(const Workload& workload, std::size_t depth, std::uint64_t batches) {
  auto recipe = recipe_of(workload, depth);
  if (!recipe) return fail(std::move(recipe.error()));
  const auto draws = draws_of(workload, recipe->seed, batches);
  const auto seconds = [](std::chrono::nanoseconds time) { return std::chrono::duration<double>(time).count(); };
  Case out{&workload, depth, *std::move(recipe), seconds(makespan_in_sequence(draws.teacher, draws.training, depth)),
           seconds(makespan_in_completion_order(draws.teacher, draws.training, depth)), 0};
  const auto taken = run(out.recipe, batches, std::make_shared<SimulatedClock>(), graph::Executor::small);
  if (!taken) return fail(taken.error());
  out.simulated = out.bound_s / taken->wall_s;
  return out;
}

Result<std::vector<Case>> measure(const OverlapArguments& arguments) {
  std::vector<Case> cases;
  for (const auto& workload : kWorkloads) {
    for (const auto depth : kDepths) {
      auto made = make_case(workload, depth, arguments.batches);
      if (!made) return fail(std::move(made.error()));
      cases.push_back(*std::move(made));
    }
  }
  std::vector<Measure> measures;
  for (auto& c : cases) {
    measures.push_back([&c, &arguments]() -> Result<void> {
      const auto taken = run(c.recipe, arguments.batches, std::make_shared<SystemClock>(), arguments.executor);
      if (!taken) return fail(taken.error());
      c.wall.push_back(c.bound_s / taken->wall_s);
      c.lost_us.push_back((taken->wall_s - c.bound_s) / static_cast<double>(arguments.batches) * 1e6);
      c.cpu_ms.push_back(taken->cpu_s / static_cast<double>(arguments.batches) * 1e3);
      return {};
    });
  }
  return interleave(arguments.repetitions, measures).map([&] { return std::move(cases); });
}

json::object report(const Case& c) {
  const auto wall = spread(c.wall);
  return {{"teacher", c.workload->name},
          {"depth", c.depth},
          {"makespan_s", c.bound_s},
          {"simulated", c.simulated},
          {"wall", to_json(wall)},
          {"lost_us_per_batch", to_json(spread(c.lost_us))},
          {"cpu_ms_per_batch", to_json(spread(c.cpu_ms))},
          {"goal", c.has_goal() ? json::value(kOverlapGoal) : json::value(nullptr)},
          {"is_goal_met", c.has_goal() ? json::value(wall.median >= kOverlapGoal) : json::value(nullptr)},
          {"completion_order_makespan_s", c.completion_order_s},
          {"price_of_order", c.bound_s / c.completion_order_s}};
}

void print(const Case& c) {
  const auto wall = spread(c.wall);
  fmt::print("{:<8}{:>9.3f}{:>12.4f}   {:<28}{:>9.0f}{:>9.2f}   {:<8}{:>14.3f}\n", c.depth, c.bound_s, c.simulated, to_text(wall, 4),
             spread(c.lost_us).median, spread(c.cpu_ms).median, c.has_goal() ? verdict(wall.median, kOverlapGoal) : "-", c.bound_s / c.completion_order_s);
}

int run_overlap(const OverlapArguments& arguments) {
  const ForeignLoad load;
  const auto cases = measure(arguments);
  if (!cases) return refuse(cases.error());
  const auto facts = context(load);
  const char* executor = arguments.executor == graph::Executor::small ? "small" : "flow_graph";
  if (arguments.json) {
    json::array out;
    for (const auto& c : *cases) out.push_back(report(c));
    std::puts(json::serialize(json::object{{"scenario", "overlap"}, {"batches", arguments.batches}, {"executor", executor},
                                           {"repetitions", arguments.repetitions}, {"cases", std::move(out)}, {"context", facts}}).c_str());
    return 0;
  }
  fmt::print("Exact makespan over time taken: {} batches of one row, training 10 ms, executor {}; wall clock: median (min to max) of {}.\n"
             "lost, CPU: a batch's time beyond the bound, and its processor time, in which no model computes.\n"
             "Price of order: makespan in sequence over makespan if batches trained in the order of their answers.\n",
             arguments.batches, executor, arguments.repetitions);
  const Workload* shown = nullptr;
  for (const auto& c : *cases) {
    if (c.workload != shown) {
      fmt::print("\nteacher {}\n{:<8}{:>9}{:>12}   {:<28}{:>9}{:>9}   {:<8}{:>14}\n", c.workload->name, "depth", "bound s", "simulated",
                 "wall clock", "lost us", "CPU ms", fmt::format(">={}", kOverlapGoal), "price of order");
    }
    shown = c.workload;
    print(c);
  }
  fmt::print("\n{}", context_line(facts));
  return 0;
}

}  // namespace

void add_overlap(CLI::App& program, Action& action) {
  const auto arguments = std::make_shared<OverlapArguments>();
  auto& command = *program.add_subcommand("overlap", "Simulated models: how near the whole workflow comes to the exact makespan, on the simulated and on the real clock");
  command.add_option("--repetitions", arguments->repetitions, "Runs of every case on the real clock")->capture_default_str()->check(CLI::PositiveNumber);
  command.add_option("--batches", arguments->batches, "Of a run")->capture_default_str()->check(CLI::PositiveNumber);
  command.add_option("--executor", arguments->executor, "On the real clock (default: flow_graph)")
      ->transform(CLI::CheckedTransformer(std::map<std::string, graph::Executor>{{"flow_graph", graph::Executor::flow_graph}, {"small", graph::Executor::small}}));
  command.add_flag("--json", arguments->json, "Print one JSON object");
  command.footer("Example: pipestill-bench overlap --repetitions 5");
  command.callback([arguments, &action] { action = [arguments] { return run_overlap(*arguments); }; });
}

}  // namespace pipestill::bench
