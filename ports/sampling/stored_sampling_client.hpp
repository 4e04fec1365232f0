#pragma once
// A durable cache in front of any sampling client: what was answered once is not asked again.
#include <memory>

#include "ports/checkpoint/answer_store.hpp"
#include "ports/sampling/sampling_client.hpp"

namespace pipestill {

/// The key of a request: SHA-256 over the model's identity, and of sample() the prompt's tokens, max_tokens, temperature, top_k, top_p, where it stops and, but at
/// temperature 0, the seed; of compute_logprobs() the tokens and top_k. Integers and floats count by their bits, lists with their length.
[[nodiscard]] Sha256Digest answer_key(const std::string& model_identity, const SampleRequest& request);
[[nodiscard]] Sha256Digest answer_key(const std::string& model_identity, const ScoreRequest& request);

/// An answer that is in the store is the answer: no request is made. Any other is asked of `inner`, committed, and read back before anybody sees it: the first
/// committed answer wins, among processes too. So a run repeats whatever its store has, even of a model that would answer otherwise. Failed requests are not
/// stored. sample_stream() hands its tokens over when the answer is committed. capabilities() are those of the model behind it, but for can_stream.
/// usage() is what was really computed. A stop ends what is asked of the model; what is being committed is committed, and delivered.
/// Errors of the store are ErrorCode::storage_failed.
[[nodiscard]] std::shared_ptr<SamplingClient> make_stored_sampling_client(std::shared_ptr<SamplingClient> inner, std::shared_ptr<AnswerStore> store);

/// Recorded answers alone: opens no model. `inner` says what the model can do, and `model_identity` whose answers they are. A request that the store has no
/// answer for is ErrorCode::invalid_input.
[[nodiscard]] std::shared_ptr<SamplingClient> make_replaying_sampling_client(std::shared_ptr<SamplingClient> inner, std::shared_ptr<AnswerStore> store,
                                                                             std::string model_identity);

}  // namespace pipestill
