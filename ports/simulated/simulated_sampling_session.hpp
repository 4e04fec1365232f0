#pragma once
// A sampling session over a simulated model: a teacher's, or a simulated student's snapshot.
#include <memory>

#include "graph/base/clock.hpp"
#include "ports/sampling/sampling_client.hpp"
#include "ports/simulated/latency.hpp"
#include "ports/simulated/session_counters.hpp"
#include "ports/simulated/simulated_model.hpp"
#include "ports/simulated/usage_meter.hpp"

namespace pipestill {

struct SimulatedSamplingOptions {
  LatencyOptions latency = {};
  int vocab_size = 256;   ///< answers hold tokens below it
  double error_rate = 0;  ///< share of requests that fail with ErrorCode::backend_failed, in [0, 1]; decided by the request's seed alone
  bool repeatable = true;  ///< false: the same request gets another answer, and the same tokens another score, each time
  int places = 0;         ///< requests in service at a time, first come first served; 0: no bound
  std::shared_ptr<SessionCounters> counters = nullptr;

  /// ErrorCode::invalid_input, naming the field.
  [[nodiscard]] Result<void> validate() const;
};

[[nodiscard]] SamplingCapabilities simulated_sampling_capabilities(const SimulatedSamplingOptions& options);

/// Whether sample() with this seed fails under this error rate.
[[nodiscard]] bool fails_by_error_rate(double error_rate, std::uint64_t request_seed);

/// Answers come through clock->call_at, the latency after a place was free: sample() draws it by params.seed, compute_logprobs() by a hash
/// of the tokens; sample_stream() spreads its tokens over it. Stops are answered through clock->call_at(now) whether or not the request is
/// in service. close() while requests are outstanding is ErrorCode::internal and changes nothing; a request after close() fails with it
/// too. usage(): `compute` is the time with a request in service.
[[nodiscard]] std::unique_ptr<SamplingSession> make_simulated_sampling_session(SimulatedModel model, SimulatedSamplingOptions options,
                                                                               std::shared_ptr<Clock> clock,
                                                                               std::shared_ptr<UsageMeter> meter);

}  // namespace pipestill
