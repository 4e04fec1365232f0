#include "ports/embedded/sampler.hpp"

#include <algorithm>
#include <cmath>
#include <exception>
#include <functional>
#include <utility>

#include "ports/embedded/capabilities.hpp"
#include "ports/embedded/library_identity.hpp"
#include "ports/embedded/random.hpp"

namespace pipestill::embedded {
namespace {

constexpr auto kNotFinite = "the model's output is not finite: its weights are damaged or training has diverged";

std::optional<Error> refuse_tokens(std::span<const Token> tokens, const ModelConfig& config, const char* what) {
  if (tokens.empty()) return Error{ErrorCode::invalid_input, std::string(what) + " is empty; at least one token is needed"};
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= config.vocab_size) {
      return Error{ErrorCode::invalid_input, std::string(what) + " has token " + std::to_string(tokens[i]) + " at position " +
                                                 std::to_string(i) + "; the model's vocabulary has " + std::to_string(config.vocab_size)};
    }
  }
  if (tokens.size() > static_cast<std::size_t>(config.max_position_embeddings)) {
    return Error{ErrorCode::invalid_input, std::string(what) + " has " + std::to_string(tokens.size()) +
                                               " tokens; the model's max_position_embeddings is " +
                                               std::to_string(config.max_position_embeddings)};
  }
  return std::nullopt;
}

}  // namespace

/// A request from its arrival to its answer.
struct Sampler::Request {
  std::vector<Token> input;    ///< prompt, or the tokens to be scored
  SamplingParams params = {};  ///< of a sample
  int top_k = 0;               ///< of a score
  std::optional<Error> error;  ///< set: this is the answer
  bool is_done = false;
  SampledSequence sequence;
  TokenHandler on_token;        ///< empty: nobody wants tokens before the answer
  std::size_t handed_over = 0;  ///< tokens of `sequence` that on_token got
  Score score;
  std::function<void(Request&)> deliver;
  bool is_score = false;
  std::stop_token stop;
  std::optional<std::stop_callback<std::function<void()>>> on_stop;  // last member: gone before what it touches

  void fail_with(ErrorCode code, std::string message) {
    error = Error{code, std::move(message)};
    is_done = true;
  }
};

Sampler::Sampler(Model model, Workplace place, std::shared_ptr<const Tokenizer> tokenizer)
    : config_(model.config()), place_(std::move(place)), tokenizer_(std::move(tokenizer)) {
  decoder_ = std::make_unique<RaggedDecoder>(std::move(model), place_.threads);
}

Sampler::~Sampler() = default;

std::optional<Error> Sampler::refuse(const SampleRequest& request) const {
  if (auto sound = check_sampling_params(request.params); !sound) return sound.error();
  if (const auto* strings = std::get_if<std::vector<std::string>>(&request.params.stop); strings && !strings->empty()) {
    if (!tokenizer_)
      return Error{ErrorCode::invalid_input, "the model's directory has no tokenizer, which stop strings need; give stop tokens"};
    if (std::any_of(strings->begin(), strings->end(), [](const auto& s) { return s.empty(); })) {
      return Error{ErrorCode::invalid_input, "a stop string is empty"};
    }
  }
  return std::nullopt;
}

std::optional<Error> Sampler::refuse(const ScoreRequest& request) const {
  if (request.top_k < 0 || request.top_k > kMaxTopK) {
    return Error{ErrorCode::invalid_input,
                 "top_k is " + std::to_string(request.top_k) + "; 0 to " + std::to_string(kMaxTopK) + " is accepted"};
  }
  return std::nullopt;
}

void Sampler::sample(SampleRequest in, std::stop_token stop, TokenHandler on_token, Completion<SampledSequence> done) {
  auto request = std::make_unique<Request>();
  request->on_token = std::move(on_token);
  request->error = refuse(in);
  request->input = in.prompt.to_ints();
  request->params = std::move(in.params);
  if (!request->error) request->error = refuse_tokens(request->input, config_, "the prompt");
  request->deliver = [done = std::move(done)](Request& r) {
    if (r.error) {
      done(fail(std::move(*r.error)));
    } else {
      done(std::move(r.sequence));
    }
  };
  enter(std::move(request), std::move(stop));
}

void Sampler::score(ScoreRequest in, std::stop_token stop, Completion<Score> done) {
  auto request = std::make_unique<Request>();
  request->is_score = true;
  request->error = refuse(in);
  request->top_k = in.top_k;
  request->input = std::move(in.tokens);
  if (!request->error) request->error = refuse_tokens(request->input, config_, "the sequence");
  request->deliver = [done = std::move(done)](Request& r) {
    if (r.error) {
      done(fail(std::move(*r.error)));
    } else {
      done(std::move(r.score));
    }
  };
  enter(std::move(request), std::move(stop));
}

void Sampler::enter(std::unique_ptr<Request> request, std::stop_token stop) {
  // The callback only wakes the compute thread, which looks at the token itself. It may run now, before the request is visible.
  request->stop = stop;
  request->on_stop.emplace(std::move(stop), [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->wake();
  });
  {
    const std::lock_guard lock(mutex_);
    ++outstanding_;
    arrivals_.push_back(std::move(request));
  }
  wake();
}

void Sampler::wake() {
  {
    const std::lock_guard lock(mutex_);
    if (is_scheduled_) return;
    is_scheduled_ = true;
  }
  place_.thread->submit(ComputeThread::Priority::sampling, place_.meter, [self = shared_from_this()] { self->run_step(); });
}

Result<void> Sampler::close() {
  {
    const std::lock_guard lock(mutex_);
    if (is_closed_) return {};
    if (outstanding_ > 0)
      return fail(ErrorCode::internal, "a sampling session was closed with " + std::to_string(outstanding_) + " requests outstanding");
  }
  abandon();
  return {};
}

void Sampler::abandon() {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(is_closed_, true)) return;
  }
  wake();
}

void Sampler::run_step() {
  bool is_closed = false;
  {
    const std::lock_guard lock(mutex_);
    std::move(arrivals_.begin(), arrivals_.end(), std::back_inserter(waiting_));
    arrivals_.clear();
    is_closed = is_closed_;
  }
  Finished finished;
  drop_stopped(finished, is_closed);
  if (is_closed) {
    decoder_.reset();
    slots_.clear();
  } else {
    try {
      admit(finished);
      compute(finished);
    } catch (const std::exception& e) {
      for (auto& slot : slots_) {
        if (!slot.request) continue;
        slot.request->fail_with(ErrorCode::backend_failed, "the embedded model could not compute: " + first_line(e));
        finished.push_back(std::move(slot.request));
      }
    }
  }

  const bool is_busy = !waiting_.empty() || std::any_of(slots_.begin(), slots_.end(), [](const auto& s) { return s.request != nullptr; });
  bool is_again = false;
  {
    const std::lock_guard lock(mutex_);
    outstanding_ -= finished.size();
    // Who came or stopped while this step ran found it scheduled and woke nobody, so look again.
    is_again = is_scheduled_ = is_busy || !arrivals_.empty() || (is_closed_ && !is_closed);
  }
  if (is_again) place_.thread->submit(ComputeThread::Priority::sampling, place_.meter, [self = shared_from_this()] { self->run_step(); });
  for (auto& request : finished) {
    request->on_stop.reset();
    request->deliver(*request);
  }
}

void Sampler::drop_stopped(Finished& finished, bool is_closed) {
  const auto is_over = [is_closed](Request& request) {
    if (request.error) return true;
    if (!is_closed && !request.stop.stop_requested()) return false;
    request.fail_with(ErrorCode::cancelled, is_closed ? "the sampling session was closed" : "the request was stopped");
    return true;
  };
  std::deque<std::unique_ptr<Request>> rest;
  for (auto& request : waiting_) {
    if (is_over(*request)) {
      finished.push_back(std::move(request));
    } else {
      rest.push_back(std::move(request));
    }
  }
  waiting_ = std::move(rest);
  for (auto& slot : slots_) {
    if (slot.request && is_over(*slot.request)) finished.push_back(std::move(slot.request));
  }
}

void Sampler::admit(Finished& finished) {
  if (slots_.empty() && !waiting_.empty()) slots_.resize(kSlots);
  std::size_t prefill = 0;
  for (auto& slot : slots_) {
    while (!slot.request && !waiting_.empty() && prefill < kPrefillTokens) {
      auto& request = *waiting_.front();
      const auto positions = static_cast<std::int64_t>(request.input.size()) + (request.is_score ? 0 : request.params.max_tokens);
      try {
        slot.cache.reset(config_, static_cast<int>(std::min<std::int64_t>(positions, config_.max_position_embeddings)));
      } catch (const std::bad_alloc&) {  // this request's own affair: it fails, and the next one is tried
        slot.cache = {};
        request.fail_with(ErrorCode::backend_failed, "there is no memory for the keys and values of " + std::to_string(positions) + " positions");
        finished.push_back(std::move(waiting_.front()));
        waiting_.pop_front();
        continue;
      }
      if (request.is_score) {  // nothing stands before the first token
        request.score.own.emplace_back();
        if (request.top_k > 0) request.score.top.emplace_back();
      }
      if (request.is_score && request.input.size() == 1) {
        finished.push_back(std::move(waiting_.front()));
      } else {
        prefill += request.input.size();
        slot.request = std::move(waiting_.front());
      }
      waiting_.pop_front();
    }
  }
}

void Sampler::compute(Finished& finished) {
  std::vector<RaggedRow> rows;
  std::vector<Request*> requests;
  for (auto& slot : slots_) {
    if (!slot.request) continue;
    auto& request = *slot.request;
    std::span<const Token> tokens = request.input;
    if (request.is_score) {
      tokens = tokens.first(tokens.size() - 1);  // nobody asks what follows the last
    } else if (!request.sequence.tokens.empty()) {
      tokens = std::span(request.sequence.tokens).last(1);
    }
    rows.push_back({&slot.cache, tokens, request.is_score});
    requests.push_back(&request);
  }
  if (rows.empty()) return;

  const auto vocabulary = static_cast<std::size_t>(config_.vocab_size);
  std::size_t row = 0;
  decoder_->step(rows, [&](std::int64_t, std::int64_t n, const float* logits) {
    for (std::int64_t i = 0; i < n; ++i, logits += vocabulary) {
      auto& request = *requests[row];
      if (request.is_score) {
        score_position(request, {logits, vocabulary});
      } else {
        append(request, {logits, vocabulary});
      }
      if (!request.is_score || request.score.own.size() == request.input.size()) ++row;
    }
  });
  for (auto& slot : slots_) {
    if (!slot.request) continue;
    hand_over(*slot.request);
    if (slot.request->is_done) finished.push_back(std::move(slot.request));
  }
}

void Sampler::hand_over(Request& request) noexcept {
  const auto& tokens = request.sequence.tokens;
  const auto& logprobs = request.sequence.logprobs;
  for (; request.on_token && !request.error && request.handed_over < tokens.size(); ++request.handed_over) {
    if (request.stop.stop_requested()) return request.fail_with(ErrorCode::cancelled, "the request was stopped");
    request.on_token(tokens[request.handed_over], logprobs[request.handed_over]);
  }
}

void Sampler::score_position(Request& request, std::span<const float> logits) {
  const PositionScore position(logits);
  request.score.own.emplace_back(position.of(request.input[request.score.own.size()]));
  if (!std::isfinite(*request.score.own.back())) request.error = Error{ErrorCode::backend_failed, kNotFinite};
  if (request.top_k > 0) request.score.top.push_back(position.top(request.top_k));
  request.is_done = request.score.own.size() == request.input.size();
}

void Sampler::append(Request& request, std::span<const float> logits) {
  auto& answer = request.sequence;
  const auto drawn = draw_.draw(logits, request.params, uniform(request.params.seed, answer.tokens.size()));
  if (!std::isfinite(drawn.logprob)) return request.fail_with(ErrorCode::backend_failed, kNotFinite);
  answer.tokens.push_back(drawn.token);
  answer.logprobs.emplace_back(drawn.logprob);
  place_.meter->add_tokens(1);

  const auto stops = reaches_stop(request);
  if (!stops) {
    request.error = stops.error();
    request.is_done = true;
  } else if (*stops) {
    answer.stop_reason = StopReason::stop;
    request.is_done = true;
  } else if (answer.tokens.size() == static_cast<std::size_t>(request.params.max_tokens) ||
             request.input.size() + answer.tokens.size() > static_cast<std::size_t>(config_.max_position_embeddings)) {
    answer.stop_reason = StopReason::length;  // the last token needs no position of its own
    request.is_done = true;
  }
}

Result<bool> Sampler::reaches_stop(const Request& request) const {
  const auto& tokens = request.sequence.tokens;
  if (const auto* stops = std::get_if<std::vector<Token>>(&request.params.stop)) {
    return std::find(stops->begin(), stops->end(), tokens.back()) != stops->end();
  }
  const auto* strings = std::get_if<std::vector<std::string>>(&request.params.stop);
  if (!strings || strings->empty()) return false;
  // The whole answer: a string may begin anywhere, and bytes of one character may come in several tokens.
  const auto text = tokenizer_->decode(tokens);
  if (!text) return fail(text.error());
  return std::any_of(strings->begin(), strings->end(), [&](const auto& s) { return text->find(s) != std::string::npos; });
}

namespace {

class Session final : public SamplingSession {
 public:
  Session(std::shared_ptr<Sampler> sampler, std::shared_ptr<const Weights> saved) : sampler_(std::move(sampler)), saved_(std::move(saved)) {}
  ~Session() override { sampler_->abandon(); }
  void sample(SampleRequest request, std::stop_token stop, Completion<SampledSequence> done) override {
    sampler_->sample(std::move(request), std::move(stop), {}, std::move(done));
  }
  void sample_stream(SampleRequest request, std::stop_token stop, TokenHandler on_token, Completion<SampledSequence> done) override {
    sampler_->sample(std::move(request), std::move(stop), std::move(on_token), std::move(done));
  }
  void compute_logprobs(ScoreRequest request, std::stop_token stop, Completion<Score> done) override {
    sampler_->score(std::move(request), std::move(stop), std::move(done));
  }
  [[nodiscard]] const SamplingCapabilities& capabilities() const override { return capabilities_; }
  [[nodiscard]] std::map<std::string, std::string> identity() const override { return library_identity(); }
  [[nodiscard]] ModelUsage usage() const override { return sampler_->usage(); }
  [[nodiscard]] Result<void> save_weights(const std::filesystem::path& directory) const override {
    const auto weights = [&] {
      const std::lock_guard lock(mutex_);
      return saved_;
    }();
    return weights ? embedded::save_weights(*weights, directory) : SamplingSession::save_weights(directory);
  }
  [[nodiscard]] Result<void> close() override {
    auto closed = sampler_->close();
    const std::lock_guard lock(mutex_);
    if (closed) saved_.reset();
    return closed;
  }

 private:
  const std::shared_ptr<Sampler> sampler_;
  mutable std::mutex mutex_;  ///< guards saved_
  std::shared_ptr<const Weights> saved_;
  const SamplingCapabilities capabilities_ = sampling_capabilities();
};

}  // namespace

std::unique_ptr<SamplingSession> make_sampling_session(std::shared_ptr<Sampler> sampler, std::shared_ptr<const Weights> saved) {
  return std::make_unique<Session>(std::move(sampler), std::move(saved));
}

}  // namespace pipestill::embedded
