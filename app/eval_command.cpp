// pipestill eval: how well a model answers a file of held-out rows.
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/commands.hpp"
#include "app/exit_status.hpp"
#include "app/signals.hpp"
#include "nodes/await.hpp"
#include "nodes/evaluator.hpp"
#include "ports/dataset/dataset_factory.hpp"
#include "ports/sampling/sampling_factory.hpp"

namespace pipestill::app {
namespace {

struct EvalArguments {
  std::string model, data, tokenizer;
  std::optional<std::string> renderer;
  EvaluationOptions options;
  std::optional<std::uint64_t> limit;
  bool json = false;
};

/// Without --renderer: role_tokens where the vocabulary has role tokens, else role_colon; either way it says so.
Result<std::shared_ptr<const Renderer>> choose_renderer(const std::optional<std::string>& name, const std::shared_ptr<const Tokenizer>& tokenizer) {
  if (name) return Renderer::make(*name, tokenizer);
  auto renderer = Renderer::make("role_tokens", tokenizer);
  if (!renderer) renderer = Renderer::make("role_colon", tokenizer);
  if (renderer) std::fprintf(stderr, "pipestill: no --renderer: %s, by the vocabulary\n", (*renderer)->name().c_str());
  return renderer;
}

Result<EvaluationResult> evaluate(const EvalArguments& arguments, const std::stop_token& stop) {
  const auto clock = std::make_shared<SystemClock>();
  auto client = make_sampling_client({{"client", "torch"}}, clock);
  if (!client) return fail(std::move(client.error()));
  if (auto sound = (*client)->check({arguments.model, ""}); !sound) return fail(std::move(sound.error()));
  auto tokenizer = Tokenizer::load(arguments.tokenizer.empty() ? arguments.model : arguments.tokenizer);
  if (!tokenizer) return fail(std::move(tokenizer.error()));
  auto renderer = choose_renderer(arguments.renderer, *tokenizer);
  if (!renderer) return fail(std::move(renderer.error()));
  auto data = open_dataset(arguments.data);
  if (!data) return fail(std::move(data.error()));
  auto options = arguments.options;
  options.limit = arguments.limit;
  auto evaluator = Evaluator::make(**data, *renderer, clock, options);
  if (!evaluator) return fail(std::move(evaluator.error()));
  auto opened = await<std::unique_ptr<SamplingSession>>(
      *clock, [&](Completion<std::unique_ptr<SamplingSession>> done) { (*client)->start_session({arguments.model, ""}, stop, std::move(done)); });
  if (!opened) return fail(std::move(opened.error()));
  const std::shared_ptr<SamplingSession> session = *std::move(opened);
  auto result = (*evaluator)->evaluate(session, stop);
  if (auto closed = session->close(); !closed && result) return fail(std::move(closed.error()));
  return result;
}

int run_eval(const EvalArguments& arguments) {
  const SignalStops signals;  // before any other thread
  const auto result = evaluate(arguments, signals.stop());
  if (!result) return report(result.error());
  if (arguments.json) {
    boost::json::object out{{"rows", result->rows}};
    for (const auto& [name, value] : result->metrics) out[name] = value;
    std::puts(boost::json::serialize(out).c_str());
  } else {
    for (const auto& [name, value] : result->metrics) std::printf("%-16s %5.1f %% of %llu rows\n", name.c_str(), 100 * value, static_cast<unsigned long long>(result->rows));
  }
  return kDone;
}

}  // namespace

void add_eval(CLI::App& program, Action& action) {
  const auto arguments = std::make_shared<EvalArguments>();
  auto& command = *program.add_subcommand("eval", "Measure how well a model answers held-out rows, greedily");
  command.add_option("--model", arguments->model, "A model directory (Hugging Face layout)")->required();
  command.add_option("--data", arguments->data, "Rows whose last message is the right answer (.jsonl)")->required();
  command.add_option("--tokenizer", arguments->tokenizer, "Its directory (default: the model's)");
  command.add_option("--renderer", arguments->renderer, "The format of the conversations (default: role_tokens or role_colon, by the vocabulary)");
  command.add_option("--metric", arguments->options.metrics, "exact_match; may be given more than once")->expected(1)->allow_extra_args(false)->take_all();
  command.add_option("--max-tokens", arguments->options.max_tokens, "Of an answer")->capture_default_str()->check(CLI::PositiveNumber);
  command.add_option("--limit", arguments->limit, "Only the first rows")->check(CLI::PositiveNumber);
  command.add_flag("--json", arguments->json, "Print one JSON object");
  command.footer("Example: pipestill eval --model examples/tasks/teacher --data examples/tasks/data/test.jsonl");
  command.callback([arguments, &action] { action = [arguments] { return run_eval(*arguments); }; });
}

}  // namespace pipestill::app
