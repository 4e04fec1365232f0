// overlap: simulated models against the exact makespan of the latencies that they draw.
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>

#include <spdlog/fmt/fmt.h>

#include "bench/harness.hpp"
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

constexpr std::uint64_t kBatches = 100;

/// Batches of one row: a teacher of 20 ms, a training step of 10 ms.
constexpr const char* kRecipe = R"({"method": "off_policy", "seed": 1, "dataset": {"path": "memory", "shuffle": false},
  "teacher": {"client": "simulated", "max_tokens": 8, "latency": {"distribution": "fixed", "mean_ms": 20}},
  "student": {"client": "simulated", "tokenizer": "bytes", "renderer": "role_tokens", "latency": {"distribution": "fixed", "mean_ms": 10}},
  "training": {"batch_size": 1}})";

/// The longest path through the drawn latencies, fill included: batch n begins when batch n - depth has retired.
double makespan_s(const Recipe& recipe, std::size_t depth) {
  const LatencyModel teacher({.mean_ms = 20}), training({.mean_ms = 10});
  std::vector<std::chrono::nanoseconds> retired(kBatches);
  for (std::uint64_t n = 0; n < kBatches; ++n) {
    const auto begun = n >= depth ? retired[n - depth] : std::chrono::nanoseconds{};
    const auto answered = begun + teacher.draw(draw_seed(recipe.seed, "teacher_sampling", 0, 0, n, 0));
    retired[n] = std::max(answered, n ? retired[n - 1] : std::chrono::nanoseconds{}) + training.draw(n);
  }
  return std::chrono::duration<double>(retired.back()).count();
}

Result<double> wall_s(std::size_t depth, bool is_simulated) {
  const std::vector<Override> overrides{{"engine.depth", std::to_string(depth)}};
  auto recipe = parse_recipe(kRecipe, "overlap scenario", ".", overrides);
  if (!recipe) return fail(std::move(recipe.error()));
  std::shared_ptr<Clock> clock;
  if (is_simulated) clock = std::make_shared<SimulatedClock>();
  else clock = std::make_shared<SystemClock>();
  DistillationPorts ports;
  auto made = make_sampling_client(recipe->resolved.at("teacher").as_object(), clock);
  if (!made) return fail(std::move(made.error()));
  ports.teacher = *std::move(made);
  auto trained = make_training_client(recipe->resolved.at("student").as_object(), clock);
  if (!trained) return fail(std::move(trained.error()));
  ports.student = *std::move(trained);
  std::vector<json::object> rows;
  for (std::uint64_t n = 0; n < kBatches; ++n) rows.push_back({{"prompt", "row " + std::to_string(n)}});
  ports.dataset = std::make_shared<MemoryStore>(std::move(rows));
  ports.tokenizer = *Tokenizer::load("bytes");
  ports.renderer = *Renderer::make("role_tokens", ports.tokenizer);
  ports.clock = clock;
  const auto summary = distil(*recipe, ports, {.executor = is_simulated ? graph::Executor::small : graph::Executor::flow_graph});
  if (summary.failure) return fail(summary.failure->error);
  return summary.wall_s;
}

struct Arguments {
  std::size_t repetitions = 3;
  bool json = false;
};

int run_overlap(const Arguments& arguments) {
  const auto recipe = parse_recipe(kRecipe, "overlap scenario", ".", {});
  const ForeignLoad load;
  json::array out;
  if (!arguments.json) fmt::print("exact makespan over time taken; teacher 20 ms, training 10 ms, {} batches of one row\n{:<8}{:>12}{:>14}{:>22}\n", kBatches, "depth", "bound s", "simulated", "wall clock, median");
  for (const std::size_t depth : {1, 2, 4, 8}) {
    const double bound = makespan_s(*recipe, depth);
    std::vector<double> by_wall;
    for (std::size_t k = 0; k < arguments.repetitions; ++k) {
      const auto wall = wall_s(depth, false);
      if (!wall) {
        std::fprintf(stderr, "pipestill-bench: %s\n", wall.error().message.c_str());
        return 3;
      }
      by_wall.push_back(bound / *wall);
    }
    const auto simulated = wall_s(depth, true);
    if (!simulated) {
      std::fprintf(stderr, "pipestill-bench: %s\n", simulated.error().message.c_str());
      return 3;
    }
    const auto wall = spread(by_wall);
    out.push_back(json::object{{"depth", depth}, {"makespan_s", bound}, {"simulated", bound / *simulated}, {"wall", to_json(wall)}});
    if (!arguments.json) fmt::print("{:<8}{:>12.3f}{:>14.4f}{:>12.4f} ({:.4f} to {:.4f})\n", depth, bound, bound / *simulated, wall.median, wall.min, wall.max);
  }
  const auto facts = context(load);
  if (arguments.json) std::puts(json::serialize(json::object{{"scenario", "overlap"}, {"batches", kBatches}, {"depths", std::move(out)}, {"context", facts}}).c_str());
  else fmt::print("{}", context_line(facts));
  return 0;
}

}  // namespace

void add_overlap(CLI::App& program, Action& action) {
  const auto arguments = std::make_shared<Arguments>();
  auto& command = *program.add_subcommand("overlap", "Simulated models: how near the whole workflow comes to the exact makespan, on the simulated and on the real clock");
  command.add_option("--repetitions", arguments->repetitions, "Runs on the real clock at each depth")->capture_default_str()->check(CLI::PositiveNumber);
  command.add_flag("--json", arguments->json, "Print one JSON object");
  command.footer("Example: pipestill-bench overlap");
  command.callback([arguments, &action] { action = [arguments] { return run_overlap(*arguments); }; });
}

}  // namespace pipestill::bench
