// engine: what a batch costs in the engine itself, against the same stages connected by hand.
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <spdlog/fmt/fmt.h>

#include "bench/harness.hpp"
#include "bench/rivals.hpp"
#include "bench/scenarios.hpp"
#include "graph/engine.hpp"
#include "nodes/run_summary.hpp"
#include "nodes/stage_trace.hpp"
#include "ports/telemetry/chrome_trace.hpp"

namespace json = boost::json;

namespace pipestill::bench {
namespace {

using graph::any_order;
using graph::Context;
using graph::in_sequence;

constexpr double kGoalOverHandWritten = 500;  // ns a batch
constexpr double kGoalTracing = 300;          // ns an event pair
constexpr double kGoalGrowth = 4;             // MiB
constexpr std::size_t kStages = 4;            // each makes an event pair a batch

struct CompleteAtOnce {
  using Output = std::uint64_t;
  void operator()(std::uint64_t n, Context&, const Completion<std::uint64_t>& done) const { done(n); }
};

graph::ClosedFlow make_flow(Shape shape, const EngineLoad& load, std::uint64_t& next) {
  auto source = graph::from("batch_source", [n = std::uint64_t{0}, last = load.batches](Context&) mutable { return n < last ? std::optional(n++) : std::nullopt; });
  const auto pass = [](std::uint64_t n, Context&) { return n; };
  const auto sink = [&next](std::uint64_t n, Context&) {
    if (n != next++) throw std::logic_error("the order was lost");
  };
  if (shape == Shape::asynchronous) {
    return std::move(source)
        .then("teacher_inference", any_order(load.depth), CompleteAtOnce{})
        .then("datum_builder", any_order(load.depth), pass)
        .then("forward_backward", in_sequence(), CompleteAtOnce{}, graph::commits)
        .into("metrics_sink", sink);
  }
  if (shape == Shape::feedback) {
    const graph::Feedback<std::uint64_t> student(std::make_shared<const std::uint64_t>(0), graph::Staleness{load.depth - 1});
    return std::move(source)
        .then("student_inference", any_order(load.depth), pass, reads(student))
        .then("datum_builder", any_order(load.depth), pass)
        .then("forward_backward", in_sequence(),
              [student, version = std::uint64_t{0}](std::uint64_t n, Context& context) mutable {
                student.publish(context, std::make_shared<const std::uint64_t>(++version));
                return n;
              },
              publishes(student))
        .into("metrics_sink", sink);
  }
  return std::move(source)
      .then("teacher_inference", any_order(load.depth), pass)
      .then("datum_builder", any_order(load.depth), pass)
      .then("forward_backward", in_sequence(), pass, graph::commits)
      .into("metrics_sink", sink);
}

void run_engine(Shape shape, const EngineLoad& load, graph::Trace* trace = nullptr) {
  std::uint64_t next = 0;
  const auto report = graph::run(make_flow(shape, load, next), {.depth = load.depth, .threads = load.threads, .trace = trace});
  if (report.status != graph::RunReport::Status::finished || next != load.batches) throw std::logic_error("the engine did not finish");
}

/// What one run takes a batch, in nanoseconds.
struct Cost {
  double wall = 0, cpu = 0;
};
Cost cost_of(const EngineLoad& load, const std::function<void()>& f) {
  const double cpu = process_cpu_seconds();
  const auto began = std::chrono::steady_clock::now();
  f();
  const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  const auto a_batch = [&load](double seconds) { return seconds / static_cast<double>(load.batches) * 1e9; };
  return {a_batch(wall), a_batch(process_cpu_seconds() - cpu)};
}

struct Costs {
  std::vector<double> wall, cpu;
  void add(const Cost& cost) {
    wall.push_back(cost.wall);
    cpu.push_back(cost.cpu);
  }
};
Cost minus(const Cost& a, const Cost& b) { return {a.wall - b.wall, a.cpu - b.cpu}; }

/// Two programs in turns, each as often first as second.
struct Pairs {
  Costs ours, theirs, more;  // `more`: ours minus theirs, pair by pair
};
Pairs measure(std::size_t pairs, const EngineLoad& load, const std::function<void()>& ours, const std::function<void()>& theirs) {
  Pairs out;
  for (std::size_t k = 0; k < pairs; ++k) {
    Cost a, b;
    if (k % 2 == 0) a = cost_of(load, ours);
    b = cost_of(load, theirs);
    if (k % 2 != 0) a = cost_of(load, ours);
    out.ours.add(a);
    out.theirs.add(b);
    out.more.add(minus(a, b));
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

struct Arguments {
  EngineLoad load;
  std::size_t pairs = 11;
  bool json = false;
};

json::object to_json(const Costs& costs) { return {{"wall_ns", bench::to_json(spread(costs.wall))}, {"cpu_ns", bench::to_json(spread(costs.cpu))}}; }

void print_row(const std::string& what, const Costs& costs, std::string_view note = "") {
  const auto wall = spread(costs.wall), cpu = spread(costs.cpu);
  fmt::print("  {:<44}{:>8.0f} ({:.0f} to {:.0f}){:>10.0f}  {}\n", what, wall.median, wall.min, wall.max, cpu.median, note);
}

std::string met(double value, double goal) { return fmt::format("goal {:.0f}: {}", goal, value <= goal ? "met" : "missed"); }

int run_engine_scenario(const Arguments& arguments) {
  const auto& load = arguments.load;
  json::object out{{"scenario", "engine"}, {"batches", load.batches}, {"depth", load.depth}, {"threads", load.threads}, {"pairs", arguments.pairs}};
  const bool text = !arguments.json;
  // Memory first: the peak of what comes later must not hide its growth.
  EngineLoad few = load, many = load;
  few.batches = 100'000, many.batches = 1'000'000;
  run_engine(Shape::asynchronous, few);
  const double rss = peak_rss_mib();
  run_engine(Shape::asynchronous, many);
  const double growth = peak_rss_mib() - rss;

  const ForeignLoad foreign;
  if (text) fmt::print("{} batches, depth {}, {} thread(s), {} pairs in turns; ns a batch: wall median (min to max), CPU median\n", load.batches, load.depth, load.threads, arguments.pairs);
  json::array shapes;
  for (const Shape shape : {Shape::returning, Shape::feedback, Shape::asynchronous}) {
    const auto pairs = measure(arguments.pairs, load, [&] { run_engine(shape, load); }, [&] { run_hand_written_graph(shape, load); });
    shapes.push_back(json::object{{"shape", name_of(shape)}, {"engine", to_json(pairs.ours)}, {"hand_written_graph", to_json(pairs.theirs)}, {"more", to_json(pairs.more)}, {"goal_ns", kGoalOverHandWritten}});
    if (!text) continue;
    fmt::print("{}\n", name_of(shape));
    print_row("engine, per-stage times on, tracing off", pairs.ours);
    print_row("hand-written oneTBB graph", pairs.theirs);
    print_row("engine minus hand-written", pairs.more, met(spread(pairs.more.wall).median, kGoalOverHandWritten));
  }
  out["shapes"] = std::move(shapes);

  Costs pipeline, threads;
  for (std::size_t k = 0; k < arguments.pairs; ++k) {
    pipeline.add(cost_of(load, [&] { run_parallel_pipeline(load); }));
    EngineLoad less = load;
    less.batches = std::max<std::uint64_t>(1, load.batches / 10);  // it is an order of magnitude slower
    threads.add(cost_of(less, [&] { run_plain_threads(less); }));
  }
  out["parallel_pipeline"] = to_json(pipeline);
  out["plain_threads"] = to_json(threads);
  if (text) {
    fmt::print("rivals without callbacks, feedback or reports\n");
    print_row("tbb::parallel_pipeline", pipeline);
    print_row("five threads, bounded queues", threads);
  }

  const auto trace_file = std::filesystem::temp_directory_path() / fmt::format("pipestill-bench-{}.json", ::getpid());
  const auto clock = std::make_shared<SystemClock>();
  auto opened = ChromeTrace::open(trace_file, clock);
  if (!opened) {
    std::fprintf(stderr, "pipestill-bench: %s\n", opened.error().message.c_str());
    return 3;
  }
  StageTrace trace(*std::move(opened));
  const auto traced = measure(arguments.pairs, load, [&] { run_engine(Shape::returning, load, &trace); }, [&] { run_engine(Shape::returning, load); });
  std::filesystem::remove(trace_file);
  const auto an_event_pair = [](std::vector<double> values) {
    for (auto& v : values) v /= kStages;
    return values;
  };
  const Costs tracing{an_event_pair(traced.more.wall), an_event_pair(traced.more.cpu)};
  out["tracing_an_event_pair"] = to_json(tracing);
  out["rss_growth_mib"] = growth;
  const auto facts = context(foreign);
  out["context"] = facts;
  if (text) {
    fmt::print("tracing to a file, ns an event pair\n");
    print_row("engine with --trace minus without", tracing, met(spread(tracing.wall).median, kGoalTracing));
    fmt::print("memory\n  peak RSS after 10^6 batches minus after 10^5: {:.2f} MiB  {}\n{}", growth, met(growth, kGoalGrowth), context_line(facts));
  } else {
    std::puts(json::serialize(out).c_str());
  }
  return 0;
}

}  // namespace

void add_engine(CLI::App& program, Action& action) {
  const auto arguments = std::make_shared<Arguments>();
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
