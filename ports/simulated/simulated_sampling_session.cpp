#include "ports/simulated/simulated_sampling_session.hpp"

#include <array>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <random>
#include <stop_token>
#include <utility>

#include "ports/dataset/numpy_random.hpp"

namespace pipestill {
namespace {

struct Answer {
  std::function<void()> deliver;
  std::uint64_t tokens = 0;  ///< that were computed for it
};

/// An answer whose tokens are handed over one by one, while its request is in service.
struct Stream {
  SampledSequence answer;
  TokenHandler on_token;
  std::stop_token stop;
  std::size_t handed_over = 0;

  void hand_over_next() {
    const auto i = handed_over++;
    on_token(answer.tokens[i], answer.logprobs[i]);
  }
};

struct Request {
  std::uint64_t seed = 0;
  std::shared_ptr<Stream> stream = nullptr;  ///< null: nobody wants tokens before the answer
  std::function<Answer()> answer;
  std::function<void(Error)> refuse;
  std::optional<std::stop_callback<std::function<void()>>> on_stop =
      std::nullopt;  ///< written before the request is visible and by who retires it

  // Guarded by the service's mutex.
  enum class State { registering, waiting, in_service, done } state = State::registering;
};
using RequestPtr = std::shared_ptr<Request>;

/// The requests of one session. Timers keep it alive, so an outstanding request does not need the session. It must not keep the clock
/// alive: a timer that outlived everybody else would destroy the clock on the clock's own thread. Calls of the session and timers find it
/// alive.
class Service : public std::enable_shared_from_this<Service> {
 public:
  Service(int places, LatencyModel latency, Clock& clock, std::shared_ptr<UsageMeter> meter)
      : places_(places), latency_(latency), clock_(clock), meter_(std::move(meter)) {}

  void submit(RequestPtr request, const std::stop_token& stop, const std::shared_ptr<Clock>& clock) {
    // Weak, and nothing but a timer: the callback runs under whatever its caller holds, perhaps inside this very line.
    request->on_stop.emplace(stop, [weak_clock = std::weak_ptr(clock), service = weak_from_this(), weak = std::weak_ptr(request)] {
      const auto alive = weak_clock.lock();
      if (!alive) return;
      alive->call_at(alive->now(), [service, weak] {
        const auto self = service.lock();
        const auto stopped = weak.lock();
        if (self && stopped) self->cancel(stopped);
      });
    });
    std::optional<Error> refusal;
    RequestPtr next;
    {
      std::lock_guard lock(mutex_);
      ++outstanding_;
      if (is_closed_) {
        refusal = Error{ErrorCode::internal, "the simulated sampling session is closed"};
      } else if (stop.stop_requested()) {  // of such a stop the callback's timer finds nothing to do; of a later one, the request
        refusal = stopped();
      }
      request->state = refusal ? Request::State::done : Request::State::waiting;
      if (!refusal) {
        waiting_.push_back(request);
        next = enter_service();
      }
    }
    if (refusal)
      clock_.call_at(clock_.now(),
                     [self = shared_from_this(), request, error = *refusal] { self->retire(request, [&] { request->refuse(error); }); });
    start(next);
  }

  [[nodiscard]] Result<void> close(SessionCounters* counters) {
    std::lock_guard lock(mutex_);
    if (is_closed_) return {};
    if (outstanding_ > 0) {
      return fail(ErrorCode::internal,
                  "a simulated sampling session was to be closed with " + std::to_string(outstanding_) + " requests outstanding");
    }
    is_closed_ = true;
    if (counters) ++counters->closed;
    return {};
  }

  void drop(SessionCounters* counters) {
    std::lock_guard lock(mutex_);
    if (!std::exchange(is_closed_, true) && counters) ++counters->dropped;
  }

  [[nodiscard]] ModelUsage usage() const { return meter_->read(clock_.now()); }

 private:
  static Error stopped() { return {ErrorCode::cancelled, "the request was stopped"}; }

  /// The next request, if there is one and a place for it. Under the mutex; the caller starts it outside.
  RequestPtr enter_service() {
    while (!waiting_.empty() && waiting_.front()->state == Request::State::done) waiting_.pop_front();
    if (waiting_.empty() || (places_ > 0 && in_service_ >= places_)) return nullptr;
    RequestPtr request = std::move(waiting_.front());
    waiting_.pop_front();
    request->state = Request::State::in_service;
    ++in_service_;
    meter_->begin_service(clock_.now());
    return request;
  }

  void start(const RequestPtr& request) {
    if (!request) return;
    const auto begin = clock_.now(), latency = latency_.draw(request->seed);
    if (request->stream) return schedule_token(request, begin, latency);
    clock_.call_at(begin + latency, [self = shared_from_this(), request] { self->complete(request); });
  }

  /// Tokens come at equal distances, the last with the answer. Each timer sets the next, so that no token overtakes another.
  void schedule_token(const RequestPtr& request, Clock::Time begin, Clock::Time latency) {
    const auto next = request->stream->handed_over + 1, count = request->stream->answer.tokens.size();
    if (next >= count) return clock_.call_at(begin + latency, [self = shared_from_this(), request] { self->complete(request); });
    const auto when = begin + latency / static_cast<std::int64_t>(count) * static_cast<std::int64_t>(next);
    clock_.call_at(when, [self = shared_from_this(), request, begin, latency] {
      {
        std::lock_guard lock(self->mutex_);
        if (request->state == Request::State::done) return;
      }
      if (request->stream->stop.stop_requested()) return self->cancel(request);  // the stop's own timer is still to come
      request->stream->hand_over_next();
      self->schedule_token(request, begin, latency);
    });
  }

  /// Under the mutex. Whoever moves a request to done is the one that retires it.
  RequestPtr leave_service(Request& request) {
    const bool was_in_service = std::exchange(request.state, Request::State::done) == Request::State::in_service;
    if (!was_in_service) return nullptr;
    --in_service_;
    meter_->end_service(clock_.now());
    return enter_service();
  }

  void complete(const RequestPtr& request) {
    RequestPtr next;
    {
      std::lock_guard lock(mutex_);
      if (request->state == Request::State::done) return;  // stopped in the meantime
      next = leave_service(*request);
    }
    start(next);
    const Answer answer = request->answer();
    meter_->add_tokens(answer.tokens);
    retire(request, answer.deliver);
  }

  void cancel(const RequestPtr& request) {
    RequestPtr next;
    {
      std::lock_guard lock(mutex_);
      if (request->state == Request::State::registering || request->state == Request::State::done) return;
      next = leave_service(*request);
    }
    start(next);
    retire(request, [&] { request->refuse(stopped()); });
  }

  void retire(const RequestPtr& request, const std::function<void()>& deliver) {
    request->on_stop.reset();
    {
      std::lock_guard lock(mutex_);
      --outstanding_;
    }
    deliver();
  }

  const int places_;
  const LatencyModel latency_;
  Clock& clock_;
  const std::shared_ptr<UsageMeter> meter_;
  std::mutex mutex_;  // guards what follows; taken before the meter's
  std::deque<RequestPtr> waiting_;
  int in_service_ = 0;
  std::int64_t outstanding_ = 0;
  bool is_closed_ = false;
};

std::uint64_t hash_of(const std::vector<Token>& tokens) {
  const Sha256Digest digest = sha256({reinterpret_cast<const char*>(tokens.data()), tokens.size() * sizeof(Token)});
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < 8; ++i) word = word << 8 | digest[i];
  return word;
}

class SimulatedSamplingSession final : public SamplingSession {
 public:
  SimulatedSamplingSession(SimulatedModel model, SimulatedSamplingOptions options, std::shared_ptr<Clock> clock,
                           std::shared_ptr<UsageMeter> meter)
      : model_(model),
        options_(std::move(options)),
        capabilities_(simulated_sampling_capabilities(options_)),
        clock_(std::move(clock)),
        service_(std::make_shared<Service>(options_.places, LatencyModel(options_.latency), *clock_, std::move(meter))) {
    if (options_.counters) options_.counters->count_opened();
  }
  ~SimulatedSamplingSession() override { service_->drop(options_.counters.get()); }

  void sample(SampleRequest request, std::stop_token stop, Completion<SampledSequence> done) override {
    const std::uint64_t seed = request.params.seed;
    auto shared = std::make_shared<const SampleRequest>(std::move(request));
    auto answer = [model = model_of_request(), shared, done]() -> Answer {
      const auto& params = shared->params;
      if (params.max_tokens < 1) {
        return {[done] { done(fail(ErrorCode::invalid_input, "max_tokens must be at least 1")); }};
      }
      auto sampled = model.sample(shared->prompt.to_ints(), params);
      const std::uint64_t tokens = sampled.tokens.size();
      return {[done, sampled = std::move(sampled)]() mutable { done(std::move(sampled)); }, tokens};
    };
    submit(seed, std::move(answer), std::move(done), stop);
  }

  void sample_stream(SampleRequest request, std::stop_token stop, TokenHandler on_token, Completion<SampledSequence> done) override {
    const auto& params = request.params;
    if (params.max_tokens < 1) return sample(std::move(request), std::move(stop), std::move(done));
    auto stream = std::make_shared<Stream>(Stream{model_of_request().sample(request.prompt.to_ints(), params), std::move(on_token), stop});
    auto answer = [stream, done]() -> Answer {
      return {[stream, done] {
                while (stream->handed_over < stream->answer.tokens.size()) {
                  if (stream->stop.stop_requested()) return done(fail(ErrorCode::cancelled, "the request was stopped"));
                  stream->hand_over_next();
                }
                done(std::move(stream->answer));
              },
              stream->answer.tokens.size()};
    };
    submit(params.seed, std::move(answer), std::move(done), stop, stream);
  }

  void compute_logprobs(ScoreRequest request, std::stop_token stop, Completion<Score> done) override {
    const std::uint64_t seed = hash_of(request.tokens);
    auto answer = [model = model_of_request(), request = std::move(request), done]() -> Answer {
      return {[done, score = model.score(request.tokens, request.top_k)]() mutable { done(std::move(score)); }, request.tokens.size()};
    };
    submit(seed, std::move(answer), std::move(done), stop);
  }

  [[nodiscard]] const SamplingCapabilities& capabilities() const override { return capabilities_; }
  [[nodiscard]] ModelUsage usage() const override { return service_->usage(); }
  [[nodiscard]] Result<void> save_weights(const std::filesystem::path& directory) const override { return SimulatedState{.weights = model_.state()}.save(directory); }
  [[nodiscard]] Result<void> close() override { return service_->close(options_.counters.get()); }

 private:
  template <class T>
  void submit(std::uint64_t seed, std::function<Answer()> answer, Completion<T> done, const std::stop_token& stop,
              std::shared_ptr<Stream> stream = nullptr) {
    auto request = std::make_shared<Request>();
    request->seed = seed;
    request->answer = std::move(answer);
    request->stream = std::move(stream);
    if (fails_by_error_rate(options_.error_rate, seed)) {
      request->stream = nullptr;
      request->answer = [done] { return Answer{[done] { done(fail(ErrorCode::backend_failed, "a simulated failure, as error_rate asks for")); }}; };
    }
    request->refuse = [done = std::move(done)](Error error) { done(fail(std::move(error))); };
    service_->submit(std::move(request), stop, clock_);
  }

  /// One of its own, where nothing is to repeat itself.
  [[nodiscard]] SimulatedModel model_of_request() const {
    if (options_.repeatable) return model_;
    std::random_device random;
    return {Sha256().field(digest_bytes(model_.state())).number(random()).number(random()).number(random()).finish(), model_.vocab_size()};
  }

  const SimulatedModel model_;
  const SimulatedSamplingOptions options_;
  const SamplingCapabilities capabilities_;
  const std::shared_ptr<Clock> clock_;
  const std::shared_ptr<Service> service_;
};

}  // namespace

Result<void> SimulatedSamplingOptions::validate() const {
  if (vocab_size < 1) return fail(ErrorCode::invalid_input, "vocab_size must be at least 1");
  if (!(error_rate >= 0 && error_rate <= 1)) return fail(ErrorCode::invalid_input, "error_rate must be between 0 and 1");
  if (places < 0) return fail(ErrorCode::invalid_input, "places must not be negative");
  return latency.validate();
}

SamplingCapabilities simulated_sampling_capabilities(const SimulatedSamplingOptions& options) {
  return {.is_seeded = options.repeatable,
          .is_deterministic = options.repeatable,
          .has_logprobs = true,
          .has_prompt_logprobs = true,
          .max_top_k = options.vocab_size,
          .can_stream = true};
}

bool fails_by_error_rate(double error_rate, std::uint64_t request_seed) {
  if (error_rate <= 0) return false;
  constexpr std::array<std::uint64_t, 1> kStream{0x6572726f72};  // apart from other draws by the same seed
  return NumpyGenerator(SeedSequence(request_seed, kStream)).next_double() < error_rate;
}

std::unique_ptr<SamplingSession> make_simulated_sampling_session(SimulatedModel model, SimulatedSamplingOptions options,
                                                                 std::shared_ptr<Clock> clock, std::shared_ptr<UsageMeter> meter) {
  return std::make_unique<SimulatedSamplingSession>(model, std::move(options), std::move(clock), std::move(meter));
}

}  // namespace pipestill
