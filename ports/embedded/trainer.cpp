#include "ports/embedded/trainer.hpp"

#include <atomic>
#include <exception>
#include <functional>
#include <utility>

#include "ports/embedded/capabilities.hpp"
#include "ports/embedded/library_identity.hpp"
#include "ports/embedded/student.hpp"

namespace pipestill::embedded {
namespace {

/// What the session and its outstanding operations share.
struct Shared {
  Shared(Weights weights, Workplace where, std::shared_ptr<const Tokenizer> text)
      : place(std::move(where)), tokenizer(std::move(text)), student(std::make_unique<Student>(std::move(weights), place.threads)) {}

  const Workplace place;
  const std::shared_ptr<const Tokenizer> tokenizer;
  std::atomic<int> outstanding{0};
  std::atomic<bool> is_closed{false};
  std::unique_ptr<Student> student;  ///< of the compute thread alone; gone when closed
};

class CapturedState final : public TrainingState {
 public:
  explicit CapturedState(StudentState state) : state_(std::move(state)) {}
  [[nodiscard]] Result<void> save(const std::filesystem::path& directory) const override { return state_.save(directory); }

 private:
  const StudentState state_;
};

class Session final : public TrainingSession {
 public:
  explicit Session(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
  ~Session() override { release(); }

  void forward_backward(std::vector<Datum> datums, Loss loss, std::stop_token stop, Completion<ForwardBackwardOutput> done) override {
    run(
        std::move(stop), std::move(done),
        [datums = std::move(datums), loss = std::move(loss)](Shared& s) {
          auto out = s.student->loss(datums, loss, true);
          if (out) s.place.meter->add_tokens(static_cast<std::uint64_t>(out->metrics.at("num_tokens")));
          return out;
        },
        [](Shared& s) { s.student->spoil_gradient(); });
  }
  void forward(std::vector<Datum> datums, Loss loss, std::stop_token stop, Completion<ForwardBackwardOutput> done) override {
    run(std::move(stop), std::move(done),
        [datums = std::move(datums), loss = std::move(loss)](Shared& s) { return s.student->loss(datums, loss, false); });
  }
  void optim_step(AdamParams params, std::stop_token stop, Completion<OptimStepOutput> done) override {
    run(std::move(stop), std::move(done), [params](Shared& s) { return s.student->optim_step(params); });
  }
  void snapshot(std::stop_token stop, Completion<std::shared_ptr<SamplingSession>> done) override {
    run(std::move(stop), std::move(done), [](Shared& s) -> Result<std::shared_ptr<SamplingSession>> { return sampler_over(s, s.student->snapshot()); });
  }
  void load_snapshot(std::filesystem::path directory, std::stop_token stop, Completion<std::shared_ptr<SamplingSession>> done) override {
    run(std::move(stop), std::move(done), [directory = std::move(directory)](Shared& s) -> Result<std::shared_ptr<SamplingSession>> {
      auto model = s.student->load_snapshot(directory);
      if (!model) return fail(std::move(model.error()));
      return sampler_over(s, *std::move(model));
    });
  }
  void capture_state(std::stop_token stop, Completion<std::shared_ptr<const TrainingState>> done) override {
    run(std::move(stop), std::move(done), [](Shared& s) -> Result<std::shared_ptr<const TrainingState>> { return std::make_shared<const CapturedState>(s.student->state()); });
  }
  void load_state(std::filesystem::path directory, std::stop_token stop, Completion<std::monostate> done) override {
    run(std::move(stop), std::move(done),
        [directory = std::move(directory)](Shared& s) { return without_value(s.student->load_state(directory)); });
  }
  void export_weights(std::filesystem::path directory, std::stop_token stop, Completion<std::monostate> done) override {
    run(std::move(stop), std::move(done),
        [directory = std::move(directory)](Shared& s) { return without_value(save_weights(s.student->weights(), directory)); });
  }
  void weights_digest(std::stop_token stop, Completion<std::string> done) override {
    run(std::move(stop), std::move(done), [](Shared& s) -> Result<std::string> { return s.student->digest(); });
  }

  [[nodiscard]] const TrainingCapabilities& capabilities() const override { return capabilities_; }
  [[nodiscard]] std::map<std::string, std::string> identity() const override { return library_identity(); }
  [[nodiscard]] ModelUsage usage() const override { return shared_->place.meter->usage(); }
  [[nodiscard]] Result<void> close() override {
    const int outstanding = shared_->outstanding.load();
    if (outstanding > 0 && !shared_->is_closed.load()) {
      return fail(ErrorCode::internal, "a training session was closed with " + std::to_string(outstanding) + " operations outstanding");
    }
    release();
    return {};
  }

 private:
  static std::shared_ptr<SamplingSession> sampler_over(const Shared& s, Model model) {
    return make_sampling_session(std::make_shared<Sampler>(model, s.place, s.tokenizer), model.weights);
  }

  static Result<std::monostate> without_value(Result<void> result) {
    if (!result) return fail(std::move(result.error()));
    return std::monostate();
  }

  /// Frees the student behind the operations under way; those that have not begun are cancelled.
  void release() {
    if (shared_->is_closed.exchange(true)) return;
    shared_->place.thread->submit(ComputeThread::Priority::training, nullptr, [shared = shared_] { shared->student.reset(); });
  }

  /// Queues operation(Shared&) -> Result<T>. `if_failed` runs, on the compute thread, where it was cancelled or threw.
  template <class T, class Operation, class IfFailed = void (*)(Shared&)>
  void run(
      std::stop_token stop, Completion<T> done, Operation operation, IfFailed if_failed = [](Shared&) {}) {
    shared_->outstanding.fetch_add(1);
    auto task = [shared = shared_, stop = std::move(stop), done = std::move(done), operation = std::move(operation), if_failed] {
      auto result = [&]() -> Result<T> {
        if (shared->is_closed.load() || !shared->student) return fail(ErrorCode::cancelled, "the training session was closed");
        if (stop.stop_requested()) {
          if_failed(*shared);
          return fail(ErrorCode::cancelled, "the operation was stopped before it began");
        }
        try {
          return operation(*shared);
        } catch (const std::exception& e) {
          if_failed(*shared);
          return fail(ErrorCode::backend_failed, "the embedded model could not compute: " + first_line(e));
        }
      }();
      shared->outstanding.fetch_sub(1);
      done(std::move(result));
    };
    shared_->place.thread->submit(ComputeThread::Priority::training, shared_->place.meter, std::move(task));
  }

  const std::shared_ptr<Shared> shared_;
  const TrainingCapabilities capabilities_ = training_capabilities();
};

}  // namespace

std::unique_ptr<TrainingSession> make_training_session(Weights weights, Workplace place, std::shared_ptr<const Tokenizer> tokenizer) {
  return std::make_unique<Session>(std::make_shared<Shared>(std::move(weights), std::move(place), std::move(tokenizer)));
}

}  // namespace pipestill::embedded
