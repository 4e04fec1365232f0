#include "ports/sampling/sampling_factory.hpp"

#include <string>
#include <utility>

#include "ports/sampling/simulated_sampling_client.hpp"
#include "ports/sampling/torch_sampling_client.hpp"
#include "ports/simulated/section_reader.hpp"

namespace pipestill {
namespace {

Result<std::shared_ptr<SamplingClient>> make_simulated_sampling(const boost::json::object& section, std::shared_ptr<Clock> clock) {
  SectionReader reader(section);
  SimulatedSamplingOptions options;
  options.latency = reader.latency({});
  options.vocab_size = reader.integer32("vocab_size", options.vocab_size);
  options.error_rate = reader.number("error_rate", options.error_rate);
  options.places = reader.integer32("places", options.places);
  options.repeatable = reader.boolean("repeatable", options.repeatable);
  return reader.status().and_then([&] { return options.validate(); }).map([&]() -> std::shared_ptr<SamplingClient> {
    return std::make_shared<SimulatedSamplingClient>(std::move(options), std::move(clock));
  });
}

Result<std::shared_ptr<SamplingClient>> make_torch_sampling(const boost::json::object& section) {
  SectionReader reader(section);
  TorchOptions options;
  options.compute_threads = reader.integer32("compute_threads", options.compute_threads);
  return reader.status().and_then([&] { return make_torch_sampling_client(options); });
}

}  // namespace

Result<std::shared_ptr<SamplingClient>> make_sampling_client(const boost::json::object& section, std::shared_ptr<Clock> clock) {
  SectionReader reader(section);
  const std::string client = reader.string("client", "");
  if (auto status = reader.status(); !status) return fail(std::move(status).error());
  if (client == "simulated") return make_simulated_sampling(section, std::move(clock));
  if (client == "torch") return make_torch_sampling(section);
  return fail(ErrorCode::invalid_input, "client \"" + client + "\" is unknown; accepted: simulated, torch");
}

std::vector<Description> describe_sampling_clients() { return {SimulatedSamplingClient::describe(), describe_torch_sampling()}; }

}  // namespace pipestill
