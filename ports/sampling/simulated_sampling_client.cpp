#include "ports/sampling/simulated_sampling_client.hpp"

#include <string>
#include <utility>

#include "ports/simulated/latency_keys.hpp"

namespace pipestill {

SimulatedSamplingClient::SimulatedSamplingClient(SimulatedSamplingOptions options, std::shared_ptr<Clock> clock)
    : options_(std::move(options)), clock_(std::move(clock)) {}

Description SimulatedSamplingClient::describe() {
  Description description{.name = "simulated", .summary = "a model of latencies and hashes, to test scheduling", .keys = latency_keys({})};
  auto& keys = description.keys;
  keys.push_back({.name = "vocab_size",
                  .type = KeyInfo::Type::integer,
                  .default_value = "256",
                  .help = "answers hold tokens below it",
                  .minimum = 1,
                  .maximum = 1 << 20});
  keys.push_back({.name = "error_rate",
                  .type = KeyInfo::Type::number,
                  .default_value = "0",
                  .help = "share of requests that fail",
                  .minimum = 0,
                  .maximum = 1});
  keys.push_back({.name = "places",
                  .type = KeyInfo::Type::integer,
                  .default_value = "0",
                  .help = "requests in service at a time; 0: no bound",
                  .minimum = 0,
                  .maximum = 1 << 20});
  keys.push_back({.name = "repeatable",
                  .type = KeyInfo::Type::boolean,
                  .default_value = "true",
                  .help = "false: the same request gets another answer each time, as a server's may"});
  return description;
}

void SimulatedSamplingClient::start_session(ModelRef model, std::stop_token stop, Completion<std::unique_ptr<SamplingSession>> done) {
  auto state = SimulatedState::open(model, 0);
  clock_->call_at(clock_->now(), [state = std::move(state), options = options_, weak_clock = std::weak_ptr(clock_), stop = std::move(stop),
                                  done = std::move(done)] {
    if (stop.stop_requested()) return done(fail(ErrorCode::cancelled, "the start of a simulated sampling session was stopped"));
    if (!state) return done(fail(state.error()));
    auto clock = weak_clock.lock();
    if (!clock) return done(fail(ErrorCode::internal, "the clock ended before a session was started"));
    done(make_simulated_sampling_session(SimulatedModel(state->weights, options.vocab_size), options, std::move(clock),
                                         std::make_shared<UsageMeter>()));
  });
}

Result<std::string> SimulatedSamplingClient::model_identity(const ModelRef& model) const {
  const auto state = SimulatedState::open(model, 0);
  if (!state) return fail(state.error());
  return "simulated " + to_hex(state->weights) + " over " + std::to_string(options_.vocab_size);
}

SamplingCapabilities SimulatedSamplingClient::capabilities() const { return simulated_sampling_capabilities(options_); }

}  // namespace pipestill
