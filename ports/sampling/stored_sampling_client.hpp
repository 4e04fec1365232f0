#pragma once
// A durable cache in front of any sampling client: what was answered once is not asked again.
#include <cstdint>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>

#include "ports/checkpoint/answer_store.hpp"
#include "ports/sampling/sampling_client.hpp"

namespace pipestill {

/// Whose answers they are.
struct AnswerOrigin {
  std::string model = {};      ///< SamplingClient::model_identity
  std::string tokenizer = {};  ///< Tokenizer::fingerprint of the one whose tokens are asked and answered
};
/// The key of a request: SHA-256 over its origin, and of sample() the prompt's tokens, max_tokens, temperature, top_k, top_p, where it stops and, but at
/// temperature 0, the seed; of compute_logprobs() the tokens and top_k. Integers and floats count by their bits, lists with their length.
[[nodiscard]] Sha256Digest answer_key(const AnswerOrigin& origin, const SampleRequest& request);
[[nodiscard]] Sha256Digest answer_key(const AnswerOrigin& origin, const ScoreRequest& request);

/// Which of a run's draws from its student a sample is; all count from 0.
struct StudentDraw {
  std::uint64_t dataset = 0, epoch = 0, row = 0;  ///< the row, and the pass through its dataset in which it comes
  std::uint64_t sample = 0;                       ///< of that row in that pass
  std::uint64_t version = 0;                      ///< of the student: the batches that it has met
  std::uint64_t step = 0;                         ///< of the batch that the row is in: which of the run's names holds; not in the key itself
  bool operator==(const StudentDraw&) const = default;
};
/// Of a sample that belongs to one draw of one run alone: SHA-256 over the run's name, which stands for its model and its tokenizer, the draw, and what the other
/// key for sample() takes of a request.
[[nodiscard]] Sha256Digest answer_key(const std::string& run, const StudentDraw& draw, const SampleRequest& request);

/// An answer that is in the store is the answer: no request is made. Any other is asked of `inner`, committed, and read back before anybody sees it: the first
/// committed answer wins, among processes too. So a run repeats whatever its store has, even of a model that would answer otherwise. Failed requests are not
/// stored. sample_stream() hands its tokens over when the answer is committed. capabilities() are those of the model behind it, but for can_stream.
/// usage() is what was really computed. A stop ends what is asked of the model; what is being committed is committed, and delivered.
/// Errors of the store are ErrorCode::storage_failed.
[[nodiscard]] std::shared_ptr<SamplingClient> make_stored_sampling_client(std::shared_ptr<SamplingClient> inner, std::shared_ptr<AnswerStore> store, std::string tokenizer_fingerprint);

/// Recorded answers alone: opens no model. `inner` says what the model can do, and `origin` whose answers they are. A request that the store has no
/// answer for is ErrorCode::not_recorded.
[[nodiscard]] std::shared_ptr<SamplingClient> make_replaying_sampling_client(std::shared_ptr<SamplingClient> inner, std::shared_ptr<AnswerStore> store, AnswerOrigin origin);

/// What a student said that would not say it again, of one run. Thread-safe; requests under way keep what they need.
class StudentSampleStore {
 public:
  enum class Missing { asked, refused };  ///< what becomes of a draw that the store does not have
  using Names = std::map<std::uint64_t, std::string>;
  /// `names` of the run by the step from which each holds; one holds from 0.
  StudentSampleStore(std::shared_ptr<AnswerStore> store, Names names, Missing missing) : store_(std::move(store)), names_(std::move(names)), missing_(missing) {}

  /// student->sample(), but that the answer is committed before `done` gets it, and that of a draw which the store has is not asked for: nobody draws twice.
  /// Missing::refused: ErrorCode::not_recorded. Errors of the store are ErrorCode::storage_failed.
  void sample(const StudentDraw& draw, std::shared_ptr<SamplingSession> student, SampleRequest request, std::stop_token stop, Completion<SampledSequence> done) const;
  [[nodiscard]] bool is_recorded_only() const { return missing_ == Missing::refused; }

 private:
  const std::shared_ptr<AnswerStore> store_;
  const Names names_;
  const Missing missing_;
};

}  // namespace pipestill
