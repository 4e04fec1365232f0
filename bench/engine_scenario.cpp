// engine: what a batch costs in the engine itself, against the same stages connected by hand.
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <spdlog/fmt/fmt.h>

#include "bench/harness.hpp"
#include "bench/rivals.hpp"
#include "bench/scenarios.hpp"
#include "nodes/stage_trace.hpp"
#include "ports/telemetry/chrome_trace.hpp"

namespace json = boost::json;

namespace pipestill::bench {
namespace {

constexpr double kGoalOverHandWritten = 500;  // ns a batch
constexpr double kGoalTracing = 300;          // ns an event pair
constexpr double kGoalGrowth = 4;             // MiB
constexpr std::size_t kStages = 4;            // each makes an event pair a batch

/// What a batch takes, in nanoseconds; a value a repetition.
struct Costs {
  std::vector<double> wall, cpu;
};
/// Runs `f`, and adds what it took.
Measure timed(const EngineLoad& load, Costs& costs, std::function<void()> f) {
  return [&load, &costs, f = std::move(f)]() -> Result<void> {
    const Stopwatch stopwatch;
    f();
    const auto taken = stopwatch.taken();
    const auto a_batch = [&load](double seconds) { return seconds / static_cast<double>(load.batches) * 1e9; };
    costs.wall.push_back(a_batch(taken.wall_s));
    costs.cpu.push_back(a_batch(taken.cpu_s));
    return {};
  };
}

/// Repetition by repetition, shared among `parts`.
Costs difference(const Costs& a, const Costs& b, double parts = 1) {
  Costs out;
  for (std::size_t k = 0; k < a.wall.size(); ++k) {
    out.wall.push_back((a.wall[k] - b.wall[k]) / parts);
    out.cpu.push_back((a.cpu[k] - b.cpu[k]) / parts);
  }
  return out;
}

/// The process's peak resident set in MiB; from /proc/self/status (proc(5)).
double peak_rss_mib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stod(line.substr(6)) / 1024;
  }
  return 0;
}

struct EngineArguments {
  EngineLoad load;
  std::size_t pairs = 11;
  bool json = false;
};

json::object to_json(const Costs& costs) { return {{"wall_ns", bench::to_json(spread(costs.wall))}, {"cpu_ns", bench::to_json(spread(costs.cpu))}}; }

void print_row(const std::string& what, const Costs& costs, std::string_view note = "") {
  fmt::print("  {:<44}{:>24}{:>24}  {}\n", what, bench::to_text(spread(costs.wall), 0), bench::to_text(spread(costs.cpu), 0), note);
}

/// Wall clock and processor time agree on a quiet machine; where others use it too, the second is the one to look at.
std::string against(const Costs& costs, double goal) {
  const auto one = [goal](const std::vector<double>& values) { return spread(values).median <= goal ? "met" : "missed"; };
  return fmt::format("goal {:.0f}: wall {}, CPU {}", goal, one(costs.wall), one(costs.cpu));
}

Result<void> run_scenario(const EngineArguments& arguments) {
  const auto& load = arguments.load;
  const bool is_text = !arguments.json;
  json::object out{{"scenario", "engine"}, {"batches", load.batches}, {"depth", load.depth}, {"threads", load.threads}, {"pairs", arguments.pairs}};
  // Memory first: the peak of what comes later must not hide its growth.
  EngineLoad few = load, many = load;
  few.batches = 100'000, many.batches = 1'000'000;
  run_engine(Shape::asynchronous, few);
  const double rss = peak_rss_mib();
  run_engine(Shape::asynchronous, many);
  const double growth = peak_rss_mib() - rss;

  const ForeignLoad foreign;
  if (is_text) {
    fmt::print("{} batches, depth {}, {} thread(s), {} repetitions in turn; ns a batch, median (min to max)\n{:<46}{:>24}{:>24}\n", load.batches, load.depth, load.threads, arguments.pairs, "", "wall clock",
               "processor time");
  }
  json::array shapes;
  for (const Shape shape : {Shape::returning, Shape::feedback, Shape::asynchronous}) {
    Costs ours, theirs;
    const std::vector<Measure> both{timed(load, ours, [&] { run_engine(shape, load); }), timed(load, theirs, [&] { run_hand_written_graph(shape, load); })};
    if (auto done = interleave(arguments.pairs, both); !done) return done;
    const auto more = difference(ours, theirs);
    shapes.push_back(json::object{{"shape", name_of(shape)}, {"engine", to_json(ours)}, {"hand_written_graph", to_json(theirs)}, {"more", to_json(more)}, {"goal_ns", kGoalOverHandWritten}});
    if (!is_text) continue;
    fmt::print("{}\n", name_of(shape));
    print_row("engine, per-stage times on, tracing off", ours);
    print_row("hand-written oneTBB graph", theirs);
    print_row("engine minus hand-written", more, load.threads == 1 ? against(more, kGoalOverHandWritten) : "");
  }
  out["shapes"] = std::move(shapes);

  EngineLoad less = load;
  less.batches = std::max<std::uint64_t>(1, load.batches / 10);  // the threads are an order of magnitude slower
  Costs pipeline, threads;
  const std::vector<Measure> rivals{timed(load, pipeline, [&] { run_parallel_pipeline(load); }), timed(less, threads, [&] { run_plain_threads(less); })};
  if (auto done = interleave(arguments.pairs, rivals); !done) return done;
  out["parallel_pipeline"] = to_json(pipeline);
  out["plain_threads"] = to_json(threads);
  if (is_text) {
    fmt::print("rivals without callbacks, feedback or reports\n");
    print_row("tbb::parallel_pipeline", pipeline);
    print_row("five threads, bounded queues", threads);
  }

  const auto trace_file = std::filesystem::temp_directory_path() / fmt::format("pipestill-bench-{}.json", ::getpid());
  auto opened = ChromeTrace::open(trace_file, std::make_shared<SystemClock>());
  if (!opened) return fail(std::move(opened.error()));
  StageTrace trace(*std::move(opened));
  Costs with, without;
  const std::vector<Measure> traced{timed(load, with, [&] { run_engine(Shape::returning, load, &trace); }), timed(load, without, [&] { run_engine(Shape::returning, load); })};
  auto done = interleave(arguments.pairs, traced);
  std::filesystem::remove(trace_file);
  if (!done) return done;
  const auto tracing = difference(with, without, kStages);
  out["tracing_an_event_pair"] = to_json(tracing);
  out["rss_growth_mib"] = growth;
  const auto facts = context(foreign);
  out["context"] = facts;
  if (is_text) {
    fmt::print("tracing to a file, ns an event pair\n");
    print_row("engine with --trace minus without", tracing, against(tracing, kGoalTracing));
    fmt::print("memory\n  peak RSS after 10^6 batches minus after 10^5: {:.2f} MiB (goal {:.0f}: {})\n{}", growth, kGoalGrowth, growth <= kGoalGrowth ? "met" : "missed", context_line(facts));
  } else {
    std::puts(json::serialize(out).c_str());
  }
  return {};
}

int run_engine_scenario(const EngineArguments& arguments) {
  if (auto done = run_scenario(arguments); !done) return refuse(done.error());
  return 0;
}

}  // namespace

void add_engine(CLI::App& program, Action& action) {
  const auto arguments = std::make_shared<EngineArguments>();
  auto& command = *program.add_subcommand("engine", "Empty stages: nanoseconds a batch against a hand-written oneTBB graph and other rivals, the price of tracing, memory");
  command.add_option("--batches", arguments->load.batches, "Of a run")->capture_default_str()->check(CLI::PositiveNumber);
  command.add_option("--depth", arguments->load.depth, "Batches in flight")->capture_default_str()->check(CLI::PositiveNumber);
  command.add_option("--threads", arguments->load.threads, "That run stages")->capture_default_str()->check(CLI::PositiveNumber);
  command.add_option("--pairs", arguments->pairs, "Measured pairs")->capture_default_str()->check(CLI::PositiveNumber);
  command.add_flag("--json", arguments->json, "Print one JSON object");
  command.footer("Example: pipestill-bench engine --threads 1");
  command.callback([arguments, &action] { action = [arguments] { return run_engine_scenario(*arguments); }; });
}

}  // namespace pipestill::bench
