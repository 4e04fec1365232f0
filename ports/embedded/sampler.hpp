#pragma once
// Continuous batching: all outstanding requests of one model, answered together.
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "ports/embedded/compute_thread.hpp"
#include "ports/embedded/draw.hpp"
#include "ports/embedded/ragged_decoder.hpp"
#include "ports/sampling/sampling_client.hpp"
#include "ports/tokenizer/tokenizer.hpp"

namespace pipestill::embedded {

/// Where a sampler works and what it accounts to.
struct Workplace {
  std::shared_ptr<ComputeThread> thread;
  std::shared_ptr<UsageMeter> meter;
  int threads = 1;  ///< for one operation
};

/// Answers requests in steps, each a task of the compute thread: up to kSlots rows at once, the oldest request first into
/// a slot that becomes free; a step computes the whole prompts of its new rows and one token for each of the others.
/// An answer is a function of model, prompt and parameters: the decoder's rows do not meet, and draw i uses uniform(seed, i).
/// Thread-safe; lives as long as a request or an owner does.
class Sampler : public std::enable_shared_from_this<Sampler> {
 public:
  /// `tokenizer` is needed for stop strings alone; without one a request that has any is ErrorCode::invalid_input.
  Sampler(Model model, Workplace place, std::shared_ptr<const Tokenizer> tokenizer);
  ~Sampler();

  /// `on_token` may be empty.
  void sample(SampleRequest request, std::stop_token stop, TokenHandler on_token, Completion<SampledSequence> done);
  void score(ScoreRequest request, std::stop_token stop, Completion<Score> done);

  /// ErrorCode::internal while a request is outstanding; otherwise frees the model. Requests that come later are cancelled.
  [[nodiscard]] Result<void> close();
  /// Cancels what is outstanding and frees the model.
  void abandon();
  [[nodiscard]] ModelUsage usage() const { return place_.meter->usage(); }

 private:
  struct Request;
  struct Slot {
    KeyValueCache cache;
    std::unique_ptr<Request> request;  // empty: free
  };
  using Finished = std::vector<std::unique_ptr<Request>>;

  // 64 rows fill dnnl_sgemm's blocks well; more would only lengthen the step that a training operation waits for.
  static constexpr std::size_t kSlots = 64;
  // Prompt tokens that a step takes on, one prompt more or less; for the same reason.
  static constexpr std::size_t kPrefillTokens = 2048;

  [[nodiscard]] std::optional<Error> refuse(const SampleRequest& request) const;
  [[nodiscard]] std::optional<Error> refuse(const ScoreRequest& request) const;
  void enter(std::unique_ptr<Request> request, std::stop_token stop);
  void wake();
  // The rest runs on the compute thread.
  void run_step();
  void drop_stopped(Finished& finished, bool is_closed);
  void admit(Finished& finished);
  void compute(Finished& finished);
  void append(Request& request, std::span<const float> logits);
  void hand_over(Request& request) noexcept;
  void score_position(Request& request, std::span<const float> logits);
  [[nodiscard]] Result<bool> reaches_stop(const Request& request) const;

  const ModelConfig config_;
  const Workplace place_;
  const std::shared_ptr<const Tokenizer> tokenizer_;

  std::mutex mutex_;  ///< guards the four below
  std::deque<std::unique_ptr<Request>> arrivals_;
  std::size_t outstanding_ = 0;
  bool is_scheduled_ = false;
  bool is_closed_ = false;

  // Of the compute thread alone.
  std::unique_ptr<RaggedDecoder> decoder_;
  std::deque<std::unique_ptr<Request>> waiting_;
  std::vector<Slot> slots_;
  TokenDraw draw_;
};

/// A sampler behind the port's interface; of a student's snapshot with the weights that it may be asked to save.
[[nodiscard]] std::unique_ptr<SamplingSession> make_sampling_session(std::shared_ptr<Sampler> sampler, std::shared_ptr<const Weights> saved = nullptr);

}  // namespace pipestill::embedded
