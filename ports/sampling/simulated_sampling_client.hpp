#pragma once
// A teacher that exists only as latencies and hashes: tests and benchmarks of scheduling.
#include <memory>

#include "graph/base/clock.hpp"
#include "graph/base/description.hpp"
#include "ports/sampling/sampling_client.hpp"
#include "ports/simulated/simulated_sampling_session.hpp"

namespace pipestill {

/// Any model name opens; a checkpoint, or a directory with `simulated.json`, gives the state that a simulated student was saved with.
/// All time comes from the clock, and every answer comes through it.
class SimulatedSamplingClient final : public SamplingClient {
 public:
  /// `options` are valid.
  SimulatedSamplingClient(SimulatedSamplingOptions options, std::shared_ptr<Clock> clock);
  [[nodiscard]] static Description describe();

  void start_session(ModelRef model, std::stop_token stop, Completion<std::unique_ptr<SamplingSession>> done) override;
  [[nodiscard]] Result<std::string> model_identity(const ModelRef& model) const override;
  [[nodiscard]] SamplingCapabilities capabilities() const override;

 private:
  const SimulatedSamplingOptions options_;
  const std::shared_ptr<Clock> clock_;
};

}  // namespace pipestill
