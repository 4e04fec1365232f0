#include "ports/training/training_factory.hpp"

#include <string>
#include <utility>

#include "ports/simulated/section_reader.hpp"
#include "ports/training/simulated_training_client.hpp"
#include "ports/training/torch_training_client.hpp"

namespace pipestill {
namespace {

Result<std::shared_ptr<TrainingClient>> make_simulated_training(const boost::json::object& section, std::shared_ptr<Clock> clock) {
  SectionReader reader(section);
  SimulatedTrainingOptions options;
  options.latency = reader.latency(options.latency);
  options.snapshot_latency = options.latency;
  options.vocab_size = reader.integer32("vocab_size", options.vocab_size);
  options.fail_at_step = reader.integer("fail_at_step", options.fail_at_step);
  options.repeatable = reader.boolean("repeatable", options.repeatable);
  return reader.status().and_then([&] { return options.validate(); }).map([&]() -> std::shared_ptr<TrainingClient> {
    return std::make_shared<SimulatedTrainingClient>(std::move(options), std::move(clock));
  });
}

Result<std::shared_ptr<TrainingClient>> make_torch_training(const boost::json::object& section) {
  SectionReader reader(section);
  TorchOptions options;
  options.compute_threads = reader.integer32("compute_threads", options.compute_threads);
  return reader.status().and_then([&] { return make_torch_training_client(options); });
}

}  // namespace

Result<std::shared_ptr<TrainingClient>> make_training_client(const boost::json::object& section, std::shared_ptr<Clock> clock) {
  SectionReader reader(section);
  const std::string client = reader.string("client", "");
  if (auto status = reader.status(); !status) return fail(std::move(status).error());
  if (client == "simulated") return make_simulated_training(section, std::move(clock));
  if (client == "torch") return make_torch_training(section);
  return fail(ErrorCode::invalid_input, "client \"" + client + "\" is unknown; accepted: simulated, torch");
}

std::vector<Description> describe_training_clients() { return {SimulatedTrainingClient::describe(), describe_torch_training()}; }

}  // namespace pipestill
