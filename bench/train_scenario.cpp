// train: what a training step of the example's models takes, through the training port.
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <spdlog/fmt/fmt.h>

#include "bench/example_models.hpp"
#include "bench/scenarios.hpp"
#include "bench/step_timing.hpp"

namespace json = boost::json;

namespace pipestill::bench {
namespace {

struct TrainArguments {
  ModelArguments models;
  int rows = kBatchRows;
  std::size_t repetitions = 7;
  double seconds = 0.5;
  bool json = false;
};

/// One batch, trained on again and again.
struct Step {
  std::shared_ptr<TrainingSession> session;
  std::vector<Datum> datums;

  /// The loss before the step. Both operations are submitted back to back, as the stage does.
  [[nodiscard]] Result<double> run() const {
    // The rate is so small that the model stays what it is: with a loss near 0, numbers would become denormal and the step slow.
    const AdamParams adam{.learning_rate = 1e-7, .beta2 = 0.98, .weight_decay = 0.01, .grad_clip_norm = 1};
    std::promise<Result<ForwardBackwardOutput>> first;
    std::promise<Result<OptimStepOutput>> second;
    session->forward_backward(datums, {}, {}, Completion<ForwardBackwardOutput>([&](Result<ForwardBackwardOutput> r) { first.set_value(std::move(r)); }));
    session->optim_step(adam, {}, Completion<OptimStepOutput>([&](Result<OptimStepOutput> r) { second.set_value(std::move(r)); }));
    const auto loss = first.get_future().get();
    const auto stepped = second.get_future().get();
    if (!loss) return fail(loss.error());
    if (!stepped) return fail(stepped.error());
    return loss->metrics.at("loss");
  }

  [[nodiscard]] Result<Taken> time(double at_least_s) const {
    Result<double> outcome(0);
    const auto taken = per_call(at_least_s, [&] {
      if (auto ran = run(); !ran) outcome = std::move(ran);
    });
    return outcome.map([taken](double) { return taken; });
  }
};

int run_train(const TrainArguments& arguments) {
  const auto models = arguments.models.load();
  if (!models) return refuse(models.error());
  std::vector<Step> steps;
  std::vector<StepTiming> timings;
  std::vector<double> losses;
  for (const auto& model : *models) {
    auto session = open_trainer(model);
    if (!session) return refuse(session.error());
    steps.push_back({*std::move(session), {}});
    for (int row = 0; row < arguments.rows; ++row) steps.back().datums.push_back(bench_datum(model.config, row));
    const auto loss = steps.back().run();
    if (!loss) return refuse(loss.error());
    losses.push_back(*loss);
    timings.emplace_back(model.role, arguments.rows * kAnswerTokens,
                         training_products(model.config, arguments.rows * kRowPositions, arguments.rows * kAnswerTokens));
  }
  ReferenceRate reference;
  const ForeignLoad load;
  const auto take = [&](std::size_t i) { return steps[i].time(arguments.seconds); };
  if (auto measured = measure_in_turn(arguments.repetitions, arguments.seconds, timings, reference, take); !measured) return refuse(measured.error());
  auto facts = context(load);
  for (const auto& [key, value] : steps.front().session->identity()) facts[key] = value;
  for (const auto& step : steps) {
    if (auto closed = step.session->close(); !closed) return refuse(closed.error());
  }
  const auto rate = reference.gflops();
  if (arguments.json) {
    json::array out;
    for (std::size_t i = 0; i < timings.size(); ++i) {
      out.push_back(timings[i].to_json(rate.median));
      out.back().as_object()["loss"] = losses[i];
    }
    std::puts(json::serialize(json::object{{"scenario", "train"}, {"repetitions", arguments.repetitions}, {"rows", arguments.rows}, {"positions", kRowPositions},
                                           {"targets", kAnswerTokens}, {"gemm_gflops", to_json(rate)}, {"cases", std::move(out)}, {"context", facts}}).c_str());
    return 0;
  }
  fmt::print("forward_backward and optim_step on {} rows of {} positions, {} of them targets, through the training port, one compute thread;\n"
             "tokens are targets; median (min to max) of {}\n\n", arguments.rows, kRowPositions, kAnswerTokens, arguments.repetitions);
  print_steps(timings, reference);
  fmt::print("{}", context_line(facts));
  return 0;
}

}  // namespace

void add_train(CLI::App& program, Action& action) {
  const auto arguments = std::make_shared<TrainArguments>();
  auto& command = *program.add_subcommand("train", "Training steps of the example's teacher and student, against their matrix products");
  arguments->models.add_to(command);
  command.add_option("--rows", arguments->rows, "Of the batch")->capture_default_str()->check(CLI::Range(1, 4096));
  command.add_option("--repetitions", arguments->repetitions, "Measurements of every case")->capture_default_str()->check(CLI::PositiveNumber);
  command.add_option("--seconds", arguments->seconds, "The least time of a measurement")->capture_default_str()->check(CLI::NonNegativeNumber);
  command.add_flag("--json", arguments->json, "Print one JSON object");
  command.footer("Example: pipestill-bench train --repetitions 15");
  command.callback([arguments, &action] { action = [arguments] { return run_train(*arguments); }; });
}

}  // namespace pipestill::bench
