// sample: what a decode step of the example's models takes, through the sampling port.
#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <future>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <spdlog/fmt/fmt.h>

#include "bench/example_models.hpp"
#include "bench/scenarios.hpp"
#include "bench/step_timing.hpp"

namespace json = boost::json;

namespace pipestill::bench {
namespace {

struct SampleArguments {
  ModelArguments models;
  std::vector<int> rows{64, 16, 1};
  std::size_t repetitions = 7;
  double seconds = 0.2;
  bool json = false;
};

/// Rows that are sampled together.
struct Batch {
  std::shared_ptr<SamplingSession> session;
  const NamedModel* model;
  int rows;

  /// What it takes until every row has its tokens.
  [[nodiscard]] Result<Taken> sample(int tokens) const {
    const Stopwatch watch;
    std::vector<std::future<Result<SampledSequence>>> answers;
    for (int row = 0; row < rows; ++row) {
      const auto answer = std::make_shared<std::promise<Result<SampledSequence>>>();
      answers.push_back(answer->get_future());
      session->sample({ModelInput::from_ints(bench_prompt(model->config, row)), {.max_tokens = tokens, .seed = static_cast<std::uint64_t>(row)}}, {},
                      Completion<SampledSequence>([answer](Result<SampledSequence> result) { answer->set_value(std::move(result)); }));
    }
    Result<Taken> outcome;
    for (auto& future : answers) {
      const auto answer = future.get();  // all of them, for none may be outstanding when the session closes
      if (!answer) outcome = fail(answer.error());
      else if (answer->tokens.size() != static_cast<std::size_t>(tokens)) outcome = fail(ErrorCode::internal, "an answer is shorter than it should be");
    }
    if (outcome) outcome = watch.taken();
    return outcome;
  }

  /// What a step takes: how much more answers of kDecodeSteps more tokens take than answers of one, which is the prompt's step. The
  /// median of as many pairs as fill `at_least_s`, who goes first alternating: a difference of sums would be at the mercy of one interruption.
  [[nodiscard]] Result<Taken> step(double at_least_s) const {
    const Stopwatch watch;
    std::vector<double> wall, cpu;
    do {
      const bool is_one_first = wall.size() % 2 == 0;
      const auto first = sample(is_one_first ? 1 : 1 + kDecodeSteps), second = sample(is_one_first ? 1 + kDecodeSteps : 1);
      if (!first) return first;
      if (!second) return second;
      const auto& [one, many] = is_one_first ? std::tie(*first, *second) : std::tie(*second, *first);
      wall.push_back((many.wall_s - one.wall_s) / kDecodeSteps);
      cpu.push_back((many.cpu_s - one.cpu_s) / kDecodeSteps);
    } while (watch.taken().wall_s < at_least_s);
    return Taken{spread(std::move(wall)).median, spread(std::move(cpu)).median};
  }
};

int run_sample(const SampleArguments& arguments) {
  const auto models = arguments.models.load();
  if (!models) return refuse(models.error());
  std::vector<std::shared_ptr<SamplingSession>> sessions;
  std::vector<Batch> batches;
  std::vector<StepTiming> timings;
  for (const auto& model : *models) {
    auto session = open_sampler(model);
    if (!session) return refuse(session.error());
    sessions.push_back(*std::move(session));
    for (const int rows : arguments.rows) {
      batches.push_back({sessions.back(), &model, rows});
      if (auto warm_up = batches.back().step(0); !warm_up) return refuse(warm_up.error());
      timings.emplace_back(fmt::format("{}, {} row{}", model.role, rows, rows == 1 ? "" : "s"), rows, decode_products(model.config, rows));
    }
  }
  ReferenceRate reference;
  const ForeignLoad load;
  const auto take = [&](std::size_t i) { return batches[i].step(arguments.seconds); };
  if (auto measured = measure_in_turn(arguments.repetitions, arguments.seconds, timings, reference, take); !measured) return refuse(measured.error());
  auto facts = context(load);
  for (const auto& [key, value] : sessions.front()->identity()) facts[key] = value;
  for (const auto& session : sessions) {
    if (auto closed = session->close(); !closed) return refuse(closed.error());
  }
  const auto rate = reference.gflops();
  if (arguments.json) {
    json::array out;
    for (const auto& timing : timings) out.push_back(timing.to_json(rate.median));
    std::puts(json::serialize(json::object{{"scenario", "sample"}, {"repetitions", arguments.repetitions}, {"prompt_tokens", kPromptTokens}, {"decode_steps", kDecodeSteps},
                                           {"gemm_gflops", to_json(rate)}, {"cases", std::move(out)}, {"context", facts}}).c_str());
    return 0;
  }
  fmt::print("Decode steps at positions {} to {}, through the sampling port, one compute thread; median (min to max) of {}\n\n", kPromptTokens,
             kPromptTokens + kDecodeSteps - 1, arguments.repetitions);
  print_steps(timings, reference);
  fmt::print("{}", context_line(facts));
  return 0;
}

}  // namespace

void add_sample(CLI::App& program, Action& action) {
  const auto arguments = std::make_shared<SampleArguments>();
  auto& command = *program.add_subcommand("sample", "Decode steps of the example's teacher and student, against their matrix products");
  arguments->models.add_to(command);
  command.add_option("--rows", arguments->rows, "Rows of a batch; several make several cases")->capture_default_str()->delimiter(',')->check(CLI::Range(1, kBatchRows));
  command.add_option("--repetitions", arguments->repetitions, "Measurements of every case")->capture_default_str()->check(CLI::PositiveNumber);
  command.add_option("--seconds", arguments->seconds, "The least time of a measurement")->capture_default_str()->check(CLI::NonNegativeNumber);
  command.add_flag("--json", arguments->json, "Print one JSON object");
  command.footer("Example: pipestill-bench sample --rows 64,1 --repetitions 15");
  command.callback([arguments, &action] { action = [arguments] { return run_sample(*arguments); }; });
}

}  // namespace pipestill::bench
