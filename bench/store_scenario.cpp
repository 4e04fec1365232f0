// store: what an answer store in front of a teacher costs a run, by the wall clock.
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <spdlog/fmt/fmt.h>

#include "bench/harness.hpp"
#include "bench/scenarios.hpp"
#include "bench/scratch_directory.hpp"
#include "nodes/distillation.hpp"
#include "ports/checkpoint/answer_store.hpp"
#include "ports/dataset/memory_store.hpp"
#include "ports/sampling/sampling_factory.hpp"
#include "ports/sampling/stored_sampling_client.hpp"
#include "ports/training/training_factory.hpp"

namespace json = boost::json;

namespace pipestill::bench {
namespace {

constexpr double kStoreGoal = 0.02;  // more wall time, with answers that outlive the process

struct StoreArguments {
  std::uint64_t batches = 60;
  std::size_t rows = 16, repetitions = 7;
  std::string directory;
  bool json = false;
};

enum class Kept { no, process, power };
constexpr std::array<const char*, 3> kKeptNames{"none", "process", "power"};

/// One schedule with one kind of store.
struct StoreCase {
  std::size_t depth;
  Kept kept;
  std::vector<double> wall_s = {};
};

Result<double> run_with_store(const StoreArguments& arguments, const StoreCase& c, const std::filesystem::path& file) {
  const auto recipe = parse_recipe(fmt::format(R"({{"method": "off_policy", "seed": 1, "dataset": {{"path": "memory", "shuffle": false}},
    "teacher": {{"client": "simulated", "max_tokens": 64, "latency": {{"distribution": "fixed", "mean_ms": 20}}}},
    "student": {{"client": "simulated", "tokenizer": "bytes", "renderer": "role_tokens", "latency": {{"distribution": "fixed", "mean_ms": 10}}}},
    "training": {{"batch_size": {}}}, "engine": {{"depth": {}}}}})", arguments.rows, c.depth), "store scenario", ".", {});
  if (!recipe) return fail(recipe.error());
  DistillationPorts ports{.tokenizer = *Tokenizer::load("bytes"), .clock = std::make_shared<SystemClock>()};
  auto teacher = make_sampling_client(recipe->resolved.at("teacher").as_object(), ports.clock);
  if (!teacher) return fail(std::move(teacher.error()));
  ports.teacher = *std::move(teacher);
  for (const char* end : {"", "-wal", "-shm"}) std::filesystem::remove(file.string() + end);
  if (c.kept != Kept::no) {
    auto store = AnswerStore::open(file, c.kept == Kept::power ? Durability::power : Durability::process);
    if (!store) return fail(std::move(store.error()));
    ports.teacher = make_stored_sampling_client(ports.teacher, *std::move(store), ports.tokenizer->fingerprint());
  }
  auto student = make_training_client(recipe->resolved.at("student").as_object(), ports.clock);
  if (!student) return fail(std::move(student.error()));
  ports.student = *std::move(student);
  std::vector<json::object> rows;
  for (std::uint64_t n = 0; n < arguments.batches * arguments.rows; ++n) rows.push_back({{"prompt", "row " + std::to_string(n)}});
  ports.dataset = std::make_shared<MemoryStore>(std::move(rows));
  ports.renderer = *Renderer::make("role_tokens", ports.tokenizer);
  const auto summary = distil(*recipe, ports);
  if (summary.failure) return fail(summary.failure->error);
  return summary.wall_s;
}

int run_store(const StoreArguments& arguments) {
  const auto scratch = ScratchDirectory::make(arguments.directory);
  if (!scratch) return refuse(scratch.error());
  std::vector<StoreCase> cases;
  for (const std::size_t depth : {1, 4}) {
    for (const auto kept : {Kept::no, Kept::process, Kept::power}) cases.push_back({depth, kept});
  }
  const ForeignLoad load;
  std::vector<Measure> measures;
  for (auto& c : cases) {
    measures.push_back([&]() -> Result<void> {
      const auto wall = run_with_store(arguments, c, (*scratch)->path() / "answers.sqlite");
      if (!wall) return fail(wall.error());
      c.wall_s.push_back(*wall);
      return {};
    });
  }
  if (auto measured = interleave(arguments.repetitions, measures); !measured) return refuse(measured.error());
  const auto facts = context(load);
  json::array out;
  if (!arguments.json) {
    fmt::print("{} batches of {} rows, a teacher of 20 ms and a student of 10 ms; wall time against the same run without a store, pairs of {} repetitions\n\n{:<8}{:<12}{:<30}{:<34}{}\n",
               arguments.batches, arguments.rows, arguments.repetitions, "depth", "durability", "seconds", "more than without, %", "goal 2 %");
  }
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const auto& c = cases[i];
    const auto& without = cases[i - i % 3];
    std::vector<double> more;
    for (std::size_t r = 0; r < c.wall_s.size(); ++r) more.push_back(100 * (c.wall_s[r] / without.wall_s[r] - 1));
    const auto percent = spread(more);
    const bool has_goal = c.kept == Kept::process, is_met = percent.median < 100 * kStoreGoal;
    const char* name = kKeptNames[static_cast<std::size_t>(c.kept)];
    if (arguments.json) {
      out.push_back(json::object{{"depth", c.depth}, {"durability", name}, {"wall_s", to_json(spread(c.wall_s))}, {"more_percent", to_json(percent)},
                                 {"is_goal_met", has_goal ? json::value(is_met) : json::value(nullptr)}});
    } else {
      fmt::print("{:<8}{:<12}{:<30}{:<34}{}\n", c.depth, name, to_text(spread(c.wall_s), 3), c.kept == Kept::no ? "-" : to_text(percent, 2), !has_goal ? "-" : is_met ? "met" : "missed");
    }
  }
  if (arguments.json) {
    std::puts(json::serialize(json::object{{"scenario", "store"}, {"batches", arguments.batches}, {"rows", arguments.rows}, {"repetitions", arguments.repetitions}, {"goal_percent", 100 * kStoreGoal},
                                           {"cases", std::move(out)}, {"context", facts}}).c_str());
  } else {
    fmt::print("{}", context_line(facts));
  }
  return 0;
}

}  // namespace

void add_store(CLI::App& program, Action& action) {
  const auto arguments = std::make_shared<StoreArguments>();
  auto& command = *program.add_subcommand("store", "What keeping every answer costs a run with a teacher of 20 ms, in pairs with the same run without");
  command.add_option("--batches", arguments->batches, "Batches of a run")->capture_default_str()->check(CLI::PositiveNumber);
  command.add_option("--rows", arguments->rows, "Rows of a batch, each a request")->capture_default_str()->check(CLI::PositiveNumber);
  command.add_option("--repetitions", arguments->repetitions, "Runs of every kind")->capture_default_str()->check(CLI::PositiveNumber);
  command.add_option("--directory", arguments->directory, "Where temporary files go, and are removed again; default: $TMPDIR or /tmp");
  command.add_flag("--json", arguments->json, "Print one JSON object");
  command.footer("Example: pipestill-bench store --rows 64");
  command.callback([arguments, &action] { action = [arguments] { return run_store(*arguments); }; });
}

}  // namespace pipestill::bench
