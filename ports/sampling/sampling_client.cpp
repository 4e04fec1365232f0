#include "ports/sampling/sampling_client.hpp"

#include <utility>

namespace pipestill {

void SamplingSession::sample_stream(SampleRequest request, std::stop_token stop, TokenHandler on_token, Completion<SampledSequence> done) {
  auto hand_over = [stop, on_token = std::move(on_token), done = std::move(done)](Result<SampledSequence> answer) {
    for (std::size_t i = 0; answer && i < answer->tokens.size(); ++i) {
      if (stop.stop_requested()) return done(fail(ErrorCode::cancelled, "the request was stopped"));
      on_token(answer->tokens[i], i < answer->logprobs.size() ? answer->logprobs[i] : Logprob());
    }
    done(std::move(answer));
  };
  sample(std::move(request), std::move(stop), Completion<SampledSequence>(std::move(hand_over)));
}

}  // namespace pipestill
