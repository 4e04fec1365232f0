#include "ports/training/simulated_training_client.hpp"

#include <algorithm>
#include <bit>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>

#include "ports/datum_digest.hpp"
#include "ports/sha256.hpp"
#include "ports/simulated/latency_keys.hpp"
#include "ports/simulated/simulated_model.hpp"
#include "ports/simulated/simulated_sampling_session.hpp"
#include "ports/simulated/usage_meter.hpp"

namespace pipestill {
namespace {

/// In (0, 1).
double fraction_of(const Sha256Digest& digest) {
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < 8; ++i) word = word << 8 | digest[i];
  return (static_cast<double>(word >> 12) + 0.5) * 0x1p-52;
}

std::uint64_t bits(double value) { return std::bit_cast<std::uint64_t>(value); }

std::uint64_t input_tokens(const std::vector<Datum>& datums) {
  std::uint64_t tokens = 0;
  for (const Datum& datum : datums) tokens += datum.model_input.length();
  return tokens;
}

std::uint64_t weighted_tokens(const std::vector<Datum>& datums) {
  std::uint64_t tokens = 0;
  for (const Datum& datum : datums) {
    const auto weights = datum.loss_fn_inputs.find("weights");
    tokens += weights == datum.loss_fn_inputs.end() ? datum.model_input.length() : weighted_positions(weights->second);
  }
  return tokens;
}

const std::vector<std::string>& losses() {
  static const std::vector<std::string> names{"cross_entropy", "importance_sampling"};
  return names;
}

/// What the operations change. One thread at a time: the operation in service, or who holds the queue's mutex between two.
struct Student {
  SimulatedState state;
  std::optional<Error> failed_forward_backward = std::nullopt;  ///< if one since the last optim_step failed or was cancelled

  [[nodiscard]] Result<ForwardBackwardOutput> forward(const std::vector<Datum>& datums, const Loss& loss) const {
    if (std::find(losses().begin(), losses().end(), loss.name) == losses().end()) {
      return fail(ErrorCode::invalid_input,
                  "a simulated student has no loss \"" + loss.name + "\"; accepted: cross_entropy, importance_sampling");
    }
    auto whole = loss;
    whole.micro_batch_rows = 0;  // a loss does not depend on it
    const auto hash = hash_of("loss", datums, whole);
    return ForwardBackwardOutput{{{"loss", 4 * fraction_of(hash)}, {"num_tokens", static_cast<double>(weighted_tokens(datums))}}};
  }

  [[nodiscard]] Result<ForwardBackwardOutput> forward_backward(const std::vector<Datum>& datums, const Loss& loss,
                                                               std::int64_t fail_at_step) {
    auto output = forward(datums, loss);
    if (output && std::cmp_equal(state.optim_steps, fail_at_step)) {
      output =
          fail(ErrorCode::backend_failed, "a simulated failure at step " + std::to_string(fail_at_step) + ", as fail_at_step asks for");
    }
    if (output) {
      state.gradient = hash_of("gradient", datums, loss);
    } else {
      failed_forward_backward = output.error();
    }
    return output;
  }

  [[nodiscard]] Result<OptimStepOutput> optim_step(const AdamParams& p) {
    const auto gradient = std::exchange(state.gradient, std::nullopt);
    if (const auto failed = std::exchange(failed_forward_backward, std::nullopt)) {
      return fail(failed->code, "no optimizer step, because the forward_backward before it failed: " + failed->message);
    }
    Sha256 hash;
    hash.field("optim_step").field(digest_bytes(state.weights)).field(gradient ? digest_bytes(*gradient) : std::string_view{});
    for (const double value : {p.learning_rate, p.beta1, p.beta2, p.eps, p.weight_decay, p.grad_clip_norm}) hash.number(bits(value));
    state.weights = hash.finish();
    ++state.optim_steps;
    return OptimStepOutput{{{"grad_norm", gradient ? fraction_of(*gradient) : 0.0}}};
  }

 private:
  [[nodiscard]] Sha256Digest hash_of(std::string_view what, const std::vector<Datum>& datums, const Loss& loss) const {
    Sha256 hash;
    hash.field(what).field(digest_bytes(state.weights)).field(state.gradient ? digest_bytes(*state.gradient) : std::string_view{});
    hash.field(datum_digest(datums)).field(loss.name).number(static_cast<std::uint64_t>(loss.normalization)).number(loss.micro_batch_rows);
    return hash.finish();
  }
};

struct Operation {
  bool takes_time = false;
  bool is_forward_backward = false;
  std::function<std::function<void()>(Student&)> run;  ///< does the work and returns the delivery of its result
  std::function<void(Error)> refuse;
  std::optional<std::stop_callback<std::function<void()>>> on_stop =
      std::nullopt;  ///< written before the operation is visible and by who retires it

  // Guarded by the queue's mutex.
  Clock::Time duration{};
  enum class State { registering, waiting, in_service, cancelled } state = State::registering;
};
using OperationPtr = std::shared_ptr<Operation>;

/// Operations in the order of the calls, one in service. Timers keep it alive. It must not keep the clock alive: a timer that outlived
/// everybody else would destroy the clock on the clock's own thread. Calls of the session and timers find it alive.
class OperationQueue : public std::enable_shared_from_this<OperationQueue> {
 public:
  OperationQueue(SimulatedState state, LatencyModel latency, Clock& clock, std::shared_ptr<UsageMeter> meter)
      : latency_(latency), clock_(clock), meter_(std::move(meter)), student_{std::move(state)} {}

  void submit(OperationPtr operation, const std::stop_token& stop, const std::shared_ptr<Clock>& clock) {
    // Weak, and nothing but a timer: the callback runs under whatever its caller holds, perhaps inside this very line.
    operation->on_stop.emplace(stop, [weak_clock = std::weak_ptr(clock), queue = weak_from_this(), weak = std::weak_ptr(operation)] {
      const auto alive = weak_clock.lock();
      if (!alive) return;
      alive->call_at(alive->now(), [queue, weak] {
        const auto self = queue.lock();
        const auto stopped = weak.lock();
        if (self && stopped) self->cancel(stopped);
      });
    });
    std::optional<Error> refusal;
    OperationPtr next;
    {
      std::lock_guard lock(mutex_);
      ++outstanding_;
      if (is_closed_) {
        refusal = Error{ErrorCode::internal, "the simulated training session is closed"};
      } else {
        if (operation->takes_time) operation->duration = latency_.draw(timed_operations_++);
        // Of a stop before this line the callback's timer finds nothing to do; of one after it, the operation.
        if (stop.stop_requested()) refusal = stopped();
        operation->state = refusal ? Operation::State::cancelled : Operation::State::waiting;
        waiting_.push_back(operation);
        next = enter_service();
      }
    }
    if (refusal) {
      clock_.call_at(clock_.now(), [self = shared_from_this(), operation, error = *refusal] {
        self->retire(operation, [&] { operation->refuse(error); });
      });
    }
    start(next);
  }

  [[nodiscard]] Result<void> close(SessionCounters* counters) {
    std::lock_guard lock(mutex_);
    if (is_closed_) return {};
    if (outstanding_ > 0) {
      return fail(ErrorCode::internal,
                  "a simulated training session was to be closed with " + std::to_string(outstanding_) + " operations outstanding");
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
  static Error stopped() { return {ErrorCode::cancelled, "the operation was stopped before it began"}; }

  /// The next operation whose turn it is, unless one is in service. Under the mutex; the caller starts it outside.
  OperationPtr enter_service() {
    while (!is_busy_ && !waiting_.empty()) {
      OperationPtr operation = std::move(waiting_.front());
      waiting_.pop_front();
      if (operation->state == Operation::State::cancelled) {
        if (operation->is_forward_backward) student_.failed_forward_backward = stopped();
        continue;
      }
      operation->state = Operation::State::in_service;
      is_busy_ = true;
      meter_->begin_service(clock_.now());
      return operation;
    }
    return nullptr;
  }

  void start(const OperationPtr& operation) {
    if (!operation) return;
    clock_.call_at(clock_.now() + operation->duration, [self = shared_from_this(), operation] { self->complete(operation); });
  }

  void complete(const OperationPtr& operation) {
    const auto deliver = operation->run(student_);
    OperationPtr next;
    {
      std::lock_guard lock(mutex_);
      is_busy_ = false;
      meter_->end_service(clock_.now());
      next = enter_service();
    }
    start(next);
    retire(operation, deliver);
  }

  void cancel(const OperationPtr& operation) {
    {
      std::lock_guard lock(mutex_);
      if (operation->state != Operation::State::waiting) return;
      operation->state = Operation::State::cancelled;  // and stays in the queue for its turn
    }
    retire(operation, [&] { operation->refuse(stopped()); });
  }

  void retire(const OperationPtr& operation, const std::function<void()>& deliver) {
    operation->on_stop.reset();
    {
      std::lock_guard lock(mutex_);
      --outstanding_;
    }
    deliver();
  }

  const LatencyModel latency_;
  Clock& clock_;
  const std::shared_ptr<UsageMeter> meter_;
  std::mutex mutex_;  // guards what follows, but the student while an operation is in service; taken before the meter's
  Student student_;
  std::deque<OperationPtr> waiting_;
  std::uint64_t timed_operations_ = 0;
  std::int64_t outstanding_ = 0;
  bool is_busy_ = false;
  bool is_closed_ = false;
};

class CapturedState final : public TrainingState {
 public:
  explicit CapturedState(SimulatedState state) : state_(std::move(state)) {}
  [[nodiscard]] Result<void> save(const std::filesystem::path& directory) const override { return state_.save(directory); }

 private:
  const SimulatedState state_;
};

class SimulatedTrainingSession final : public TrainingSession {
 public:
  SimulatedTrainingSession(SimulatedState state, SimulatedTrainingOptions options, TrainingCapabilities capabilities,
                           std::shared_ptr<Clock> clock)
      : options_(std::move(options)),
        capabilities_(std::move(capabilities)),
        clock_(std::move(clock)),
        meter_(std::make_shared<UsageMeter>()),
        queue_(std::make_shared<OperationQueue>(std::move(state), LatencyModel(options_.latency), *clock_, meter_)) {
    if (options_.counters) options_.counters->count_opened();
  }
  ~SimulatedTrainingSession() override { queue_->drop(options_.counters.get()); }

  void forward_backward(std::vector<Datum> datums, Loss loss, std::stop_token stop, Completion<ForwardBackwardOutput> done) override {
    auto work = [meter = meter_, fail_at_step = options_.fail_at_step, datums = std::move(datums),
                 loss = std::move(loss)](Student& student) {
      auto output = student.forward_backward(datums, loss, fail_at_step);
      if (output) meter->add_tokens(input_tokens(datums));
      return output;
    };
    submit<ForwardBackwardOutput>({.takes_time = true, .is_forward_backward = true}, std::move(work), stop, std::move(done));
  }

  void forward(std::vector<Datum> datums, Loss loss, std::stop_token stop, Completion<ForwardBackwardOutput> done) override {
    auto work = [meter = meter_, datums = std::move(datums), loss = std::move(loss)](Student& student) {
      auto output = student.forward(datums, loss);
      if (output) meter->add_tokens(input_tokens(datums));
      return output;
    };
    submit<ForwardBackwardOutput>({.takes_time = true}, std::move(work), stop, std::move(done));
  }

  void optim_step(AdamParams params, std::stop_token stop, Completion<OptimStepOutput> done) override {
    submit<OptimStepOutput>(
        {}, [params](Student& student) { return student.optim_step(params); }, stop, std::move(done));
  }

  void snapshot(std::stop_token stop, Completion<std::shared_ptr<SamplingSession>> done) override {
    submit<std::shared_ptr<SamplingSession>>({}, sampler_of([](const Student& student) { return student.state; }), stop, std::move(done));
  }

  void load_snapshot(std::filesystem::path directory, std::stop_token stop, Completion<std::shared_ptr<SamplingSession>> done) override {
    submit<std::shared_ptr<SamplingSession>>({}, sampler_of([directory = std::move(directory)](const Student&) { return SimulatedState::load(directory); }), stop, std::move(done));
  }

  void capture_state(std::stop_token stop, Completion<std::shared_ptr<const TrainingState>> done) override {
    submit<std::shared_ptr<const TrainingState>>(
        {}, [](Student& student) -> Result<std::shared_ptr<const TrainingState>> { return std::make_shared<const CapturedState>(student.state); }, stop, std::move(done));
  }

  void load_state(std::filesystem::path directory, std::stop_token stop, Completion<std::monostate> done) override {
    auto work = [directory = std::move(directory)](Student& student) -> Result<std::monostate> {
      auto state = SimulatedState::load(directory);
      if (!state) return fail(std::move(state).error());
      student.state = std::move(*state);
      student.failed_forward_backward.reset();
      return std::monostate{};
    };
    submit<std::monostate>({}, std::move(work), stop, std::move(done));
  }

  void export_weights(std::filesystem::path directory, std::stop_token stop, Completion<std::monostate> done) override {
    auto work = [directory = std::move(directory)](Student& student) -> Result<std::monostate> {
      return SimulatedState{.weights = student.state.weights}.save(directory).map([] { return std::monostate{}; });
    };
    submit<std::monostate>({}, std::move(work), stop, std::move(done));
  }

  void weights_digest(std::stop_token stop, Completion<std::string> done) override {
    submit<std::string>(
        {}, [](Student& student) -> Result<std::string> { return to_hex(student.state.weights); }, stop, std::move(done));
  }

  [[nodiscard]] const TrainingCapabilities& capabilities() const override { return capabilities_; }
  [[nodiscard]] ModelUsage usage() const override { return queue_->usage(); }
  [[nodiscard]] Result<void> close() override { return queue_->close(options_.counters.get()); }

 private:
  struct Kind {
    bool takes_time = false, is_forward_backward = false;
  };

  using Choose = std::function<Result<SimulatedState>(const Student&)>;
  /// A sampler over the weights that are chosen.
  [[nodiscard]] std::function<Result<std::shared_ptr<SamplingSession>>(Student&)> sampler_of(Choose choose) const {
    return [options = options_, weak_clock = std::weak_ptr(clock_), meter = meter_, choose = std::move(choose)](Student& student) -> Result<std::shared_ptr<SamplingSession>> {
      const auto state = choose(student);
      if (!state) return fail(state.error());
      auto clock = weak_clock.lock();
      if (!clock) return fail(ErrorCode::internal, "the clock ended before a snapshot's turn");
      return make_simulated_sampling_session(
          SimulatedModel(state->weights, options.vocab_size),
          {.latency = options.snapshot_latency, .vocab_size = options.vocab_size, .repeatable = options.repeatable, .counters = options.snapshot_counters}, std::move(clock), meter);
    };
  }

  template <class T, class Work>
  void submit(Kind kind, Work work, const std::stop_token& stop, Completion<T> done) {
    auto operation = std::make_shared<Operation>();
    operation->takes_time = kind.takes_time;
    operation->is_forward_backward = kind.is_forward_backward;
    operation->run = [work = std::move(work), done](Student& student) -> std::function<void()> {
      return [done, result = work(student)]() mutable { done(std::move(result)); };
    };
    operation->refuse = [done = std::move(done)](Error error) { done(fail(std::move(error))); };
    queue_->submit(std::move(operation), stop, clock_);
  }

  const SimulatedTrainingOptions options_;
  const TrainingCapabilities capabilities_;
  const std::shared_ptr<Clock> clock_;
  const std::shared_ptr<UsageMeter> meter_;
  const std::shared_ptr<OperationQueue> queue_;
};

}  // namespace

Result<void> SimulatedTrainingOptions::validate() const {
  if (vocab_size < 1) return fail(ErrorCode::invalid_input, "vocab_size must be at least 1");
  if (fail_at_step < -1) return fail(ErrorCode::invalid_input, "fail_at_step must be -1 (never) or the number of a step");
  return latency.validate().and_then([&] { return snapshot_latency.validate(); });
}

SimulatedTrainingClient::SimulatedTrainingClient(SimulatedTrainingOptions options, std::shared_ptr<Clock> clock)
    : options_(std::move(options)), clock_(std::move(clock)) {}

Description SimulatedTrainingClient::describe() {
  Description description{
      .name = "simulated", .summary = "a student of latencies and hashes, to test scheduling", .keys = latency_keys({.mean_ms = 10})};
  auto& keys = description.keys;
  keys.push_back({.name = "vocab_size",
                  .type = KeyInfo::Type::integer,
                  .default_value = "256",
                  .help = "its answers hold tokens below it",
                  .minimum = 1,
                  .maximum = 1 << 20});
  keys.push_back({.name = "fail_at_step",
                  .type = KeyInfo::Type::integer,
                  .default_value = "-1",
                  .help = "forward_backward fails after so many optimizer steps; -1: never",
                  .minimum = -1});
  keys.push_back({.name = "repeatable",
                  .type = KeyInfo::Type::boolean,
                  .default_value = "true",
                  .help = "false: when it is sampled, the same request gets another answer each time, as a server's may"});
  return description;
}

void SimulatedTrainingClient::start_session(ModelRef model, std::uint64_t init_seed, std::stop_token stop,
                                            Completion<std::unique_ptr<TrainingSession>> done) {
  auto state = SimulatedState::open(model, init_seed);
  clock_->call_at(clock_->now(), [state = std::move(state), options = options_, capabilities = capabilities(),
                                  weak_clock = std::weak_ptr(clock_), stop = std::move(stop), done = std::move(done)] {
    if (stop.stop_requested()) return done(fail(ErrorCode::cancelled, "the start of a simulated training session was stopped"));
    if (!state) return done(fail(state.error()));
    auto clock = weak_clock.lock();
    if (!clock) return done(fail(ErrorCode::internal, "the clock ended before a session was started"));
    done(std::make_unique<SimulatedTrainingSession>(SimulatedState{.weights = state->weights}, options, capabilities, std::move(clock)));
  });
}

Result<std::string> SimulatedTrainingClient::model_identity(const ModelRef& model) const {
  const auto state = SimulatedState::open(model, 0);
  if (!state) return fail(state.error());
  return "simulated " + to_hex(state->weights) + " over " + std::to_string(options_.vocab_size);
}

TrainingCapabilities SimulatedTrainingClient::capabilities() const {
  return {.losses = losses(),
          .normalizations = {Normalization::token_mean, Normalization::seq_mean, Normalization::sum},
          .has_soft_targets = true,
          .has_micro_batches = true,
          .is_deterministic = true,
          .can_sample_snapshots_in_training = true,
          .has_repeatable_snapshots = options_.repeatable};
}

}  // namespace pipestill
