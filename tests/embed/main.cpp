// An embedder's program: it brings its own teacher and its own student, distils in two flows at once, and checks that both came to the same.
#include <atomic>
#include <boost/json/object.hpp>
#include <cmath>
#include <cstdio>
#include <deque>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <pipestill/nodes/distillation.hpp>
#include <pipestill/ports/dataset/memory_store.hpp>
#include <stdexcept>
#include <string>
#include <thread>

using namespace pipestill;

namespace {

void check(bool is_true, const char* what) {
  if (!is_true) throw std::runtime_error(what);
}

/// The thread that a model computes on: one job after the other.
class Worker {
 public:
  ~Worker() {
    thread_.request_stop();
    changed_.notify_all();
  }
  void post(std::function<void()> job) {
    {
      std::lock_guard lock(mutex_);
      jobs_.push_back(std::move(job));
    }
    changed_.notify_all();
  }

 private:
  void work(const std::stop_token& stop) {
    for (;;) {
      std::unique_lock lock(mutex_);
      if (!changed_.wait(lock, stop, [this] { return !jobs_.empty(); })) return;
      const auto job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      job();
    }
  }
  std::mutex mutex_;  // guards jobs_
  std::condition_variable_any changed_;
  std::deque<std::function<void()>> jobs_;
  std::jthread thread_{[this](const std::stop_token& stop) { work(stop); }};
};

/// A teacher that answers with the prompt's last tokens, backwards.
class Echo final : public SamplingSession {
 public:
  explicit Echo(std::atomic<int>& open) : open_(open) { ++open_; }
  ~Echo() override { (void)close(); }
  void sample(SampleRequest request, std::stop_token, Completion<SampledSequence> done) override {
    worker_.post([request = std::move(request), done = std::move(done)] {
      auto tokens = request.prompt.to_ints();
      SampledSequence answer;
      for (std::size_t i = 0; i < 4 && i < tokens.size(); ++i) answer.tokens.push_back(tokens[tokens.size() - 1 - i]);
      answer.logprobs.assign(answer.tokens.size(), -0.5f);
      answer.stop_reason = StopReason::length;
      done(std::move(answer));
    });
  }
  void compute_logprobs(ScoreRequest, std::stop_token, Completion<Score> done) override {
    worker_.post([done = std::move(done)] { done(fail(ErrorCode::invalid_input, "this teacher does not score")); });
  }
  const SamplingCapabilities& capabilities() const override { return capabilities_; }
  ModelUsage usage() const override { return {}; }
  Result<void> close() override {
    if (!is_closed_.exchange(true)) --open_;
    return {};
  }
  static constexpr SamplingCapabilities kCan{.is_seeded = true, .is_deterministic = true, .has_logprobs = true};

 private:
  std::atomic<int>& open_;
  std::atomic<bool> is_closed_{false};
  SamplingCapabilities capabilities_ = kCan;
  Worker worker_;
};

struct EchoClient final : SamplingClient {
  explicit EchoClient(std::atomic<int>& o) : open(o) {}
  void start_session(ModelRef, std::stop_token, Completion<std::unique_ptr<SamplingSession>> done) override {
    worker.post([this, done = std::move(done)] { done(std::make_unique<Echo>(open)); });
  }
  SamplingCapabilities capabilities() const override { return Echo::kCan; }
  std::atomic<int>& open;
  Worker worker;
};

/// A student of one number: it learns the mean target token.
class Mean final : public TrainingSession {
 public:
  explicit Mean(std::atomic<int>& open) : open_(open) { ++open_; }
  ~Mean() override { (void)close(); }
  void forward_backward(std::vector<Datum> datums, Loss, std::stop_token, Completion<ForwardBackwardOutput> done) override {
    worker_.post([this, datums = std::move(datums), done = std::move(done)] { done(gradient(datums)); });
  }
  void forward(std::vector<Datum> datums, Loss, std::stop_token, Completion<ForwardBackwardOutput> done) override {
    worker_.post([this, datums = std::move(datums), done = std::move(done)] { done(gradient(datums)); });
  }
  void optim_step(AdamParams params, std::stop_token, Completion<OptimStepOutput> done) override {
    worker_.post([this, params, done = std::move(done)] {
      weight_ += params.learning_rate * gradient_;
      done(OptimStepOutput{{{"grad_norm", std::abs(gradient_)}}});
      gradient_ = 0;
    });
  }
  void snapshot(std::stop_token, Completion<std::shared_ptr<SamplingSession>> done) override { refuse(std::move(done)); }
  void load_snapshot(std::filesystem::path, std::stop_token, Completion<std::shared_ptr<SamplingSession>> done) override { refuse(std::move(done)); }
  void capture_state(std::stop_token, Completion<std::shared_ptr<const TrainingState>> done) override { refuse(std::move(done)); }
  void load_state(std::filesystem::path, std::stop_token, Completion<std::monostate> done) override { refuse(std::move(done)); }
  void export_weights(std::filesystem::path, std::stop_token, Completion<std::monostate> done) override { refuse(std::move(done)); }
  void weights_digest(std::stop_token, Completion<std::string> done) override {
    worker_.post([this, done = std::move(done)] {
      char text[40];
      std::snprintf(text, sizeof text, "%a", weight_);
      done(std::string(text));
    });
  }
  const TrainingCapabilities& capabilities() const override { return capabilities_; }
  ModelUsage usage() const override { return {}; }
  Result<void> close() override {
    if (!is_closed_.exchange(true)) --open_;
    return {};
  }
  static TrainingCapabilities can() { return {.losses = {"cross_entropy"}, .normalizations = {Normalization::token_mean}, .is_deterministic = true}; }

 private:
  template <class T>
  void refuse(Completion<T> done) {
    worker_.post([done = std::move(done)] { done(fail(ErrorCode::invalid_input, "one number is neither saved nor sampled")); });
  }
  Result<ForwardBackwardOutput> gradient(const std::vector<Datum>& datums) {
    double sum = 0, count = 0;
    for (const auto& datum : datums) {
      const auto& targets = std::get<std::vector<std::int64_t>>(datum.loss_fn_inputs.at("target_tokens").data);
      const auto& weights = std::get<std::vector<float>>(datum.loss_fn_inputs.at("weights").data);
      for (std::size_t i = 0; i < targets.size(); ++i) {
        sum += static_cast<double>(weights[i]) * (static_cast<double>(targets[i]) - weight_);
        count += static_cast<double>(weights[i]);
      }
    }
    gradient_ += sum / count;
    return ForwardBackwardOutput{{{"loss", gradient_ * gradient_}, {"num_tokens", count}}};
  }
  std::atomic<int>& open_;
  std::atomic<bool> is_closed_{false};
  TrainingCapabilities capabilities_ = can();
  double weight_ = 0, gradient_ = 0;  // the worker's
  Worker worker_;
};

struct MeanClient final : TrainingClient {
  explicit MeanClient(std::atomic<int>& o) : open(o) {}
  void start_session(ModelRef, std::uint64_t, std::stop_token, Completion<std::unique_ptr<TrainingSession>> done) override {
    worker.post([this, done = std::move(done)] { done(std::make_unique<Mean>(open)); });
  }
  TrainingCapabilities capabilities() const override { return Mean::can(); }
  std::atomic<int>& open;
  Worker worker;
};

RunSummary distil_once(int depth, std::atomic<int>& open) {
  // The keys of the clients are the recipe's own affair: the ports below take their place.
  const std::string text = R"({"method": "off_policy", "seed": 3, "dataset": {"path": "memory"},
    "teacher": {"client": "simulated", "max_tokens": 4}, "student": {"client": "simulated", "tokenizer": "bytes", "renderer": "role_tokens"},
    "training": {"batch_size": 4, "learning_rate": 0.1, "epochs": 3}, "engine": {"threads": 2, "depth": )" + std::to_string(depth) + "}}";
  const auto recipe = parse_recipe(text, "embedded recipe", ".", {});
  if (!recipe) throw std::runtime_error(recipe.error().message);
  std::vector<boost::json::object> rows;
  for (int i = 0; i < 50; ++i) rows.push_back({{"prompt", "row " + std::to_string(i)}});
  DistillationPorts ports;
  ports.teacher = std::make_shared<EchoClient>(open);
  ports.student = std::make_shared<MeanClient>(open);
  ports.dataset = std::make_shared<MemoryStore>(std::move(rows), "memory");
  ports.tokenizer = *Tokenizer::load("bytes");
  ports.renderer = *Renderer::make("role_tokens", ports.tokenizer);
  return distil(*recipe, ports);
}

}  // namespace

int main() try {
  std::atomic<int> open{0};
  RunSummary sequential, pipelined;
  {
    std::jthread first([&] { sequential = distil_once(1, open); });
    std::jthread second([&] { pipelined = distil_once(4, open); });
  }
  for (const auto* summary : {&sequential, &pipelined}) {
    if (summary->failure) throw std::runtime_error(summary->failure->stage + ": " + summary->failure->error.message);
    check(summary->status == RunSummary::Status::finished, "the run did not finish");
    check(summary->totals.steps == 39, "3 epochs of 50 rows in batches of 4 are 39 steps");
    check(summary->weights_digest.has_value(), "no digest");
  }
  check(sequential.weights_digest == pipelined.weights_digest, "depth changed the weights");
  check(open == 0, "a session was left open");
  std::printf("embed: two flows in one process, %llu steps each, weights %s\n", static_cast<unsigned long long>(pipelined.totals.steps), pipelined.weights_digest->c_str());
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "embed: %s\n", e.what());
  return 1;
}
