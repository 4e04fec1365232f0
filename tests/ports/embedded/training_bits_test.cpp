// What may change a bit of training and what may not.
#include <algorithm>
#include <atomic>
#include <thread>

#include "tests/ports/embedded/support.hpp"

using namespace pipestill;
using namespace pipestill::test;

namespace {

std::string wide_config_in(const TemporaryDirectory& directory) {
  auto config = small_config();
  config.family = ModelConfig::Family::qwen3;
  config.hidden_size = 104;  // more than one block of rows in every product, and no multiple of one
  config.intermediate_size = 200;
  return config_in(directory, config);
}

/// Hard rows, and soft ones among them.
std::vector<Datum> batch_of(int salt) {
  auto datums = make_batch(33, salt);
  for (std::size_t i = 0; i < datums.size(); i += 3) {
    const auto input = datums[i].model_input.to_ints();
    std::vector<std::int64_t> targets;
    std::vector<float> weights;
    for (std::size_t e = 0; e < 4 * input.size(); ++e) {
      targets.push_back(static_cast<std::int64_t>((7 * e + i) % 40));
      weights.push_back(e % 4 == 3 ? 0.0f : 0.3f);
    }
    datums[i] = make_soft_datum(input, targets, weights, 4);
  }
  return datums;
}

struct Trained {
  std::string weights;
  std::vector<double> losses, gradient_norms;
  bool operator==(const Trained&) const = default;
};

Trained train(const std::string& model, int threads, std::size_t micro_batch_rows, std::vector<int> order = {0, 1}) {
  const auto student = open_student(model, 3, threads);
  Trained result;
  for (const int salt : order) {
    const Loss loss{.micro_batch_rows = micro_batch_rows};
    result.losses.push_back(value_of(forward_backward(*student, batch_of(salt), loss)).metrics.at("loss"));
    result.gradient_norms.push_back(
        value_of(optim_step(*student, {.learning_rate = 3e-3, .weight_decay = 0.01, .grad_clip_norm = 0.5})).metrics.at("grad_norm"));
  }
  result.weights = digest(*student);
  return result;
}

/// A session that computes for as long as this object lives.
class Neighbour {
 public:
  Neighbour(std::unique_ptr<TrainingSession> student, std::unique_ptr<SamplingSession> teacher)
      : student_(std::move(student)), teacher_(std::move(teacher)), thread_([this](std::stop_token stop) { work(stop); }) {
    while (rounds_.load() == 0) std::this_thread::yield();
  }
  ~Neighbour() {
    const int before = rounds_.load();
    thread_.request_stop();
    thread_.join();
    CHECK(before > 0);
  }

 private:
  void work(std::stop_token stop) {
    for (int i = 0; !stop.stop_requested(); ++i) {
      if (student_) {
        CHECK(forward_backward(*student_, make_batch(20, i % 5), {.micro_batch_rows = 6}));
        CHECK(optim_step(*student_));
      }
      if (teacher_) {
        std::vector<SampleRequest> requests;
        for (int r = 0; r < 8; ++r) requests.push_back(request_of(r));
        for (const auto& answer : sample_all(*teacher_, std::move(requests))) CHECK(answer);
      }
      ++rounds_;
    }
  }

  const std::unique_ptr<TrainingSession> student_;
  const std::unique_ptr<SamplingSession> teacher_;
  std::atomic<int> rounds_{0};
  std::jthread thread_;  // last: it uses the others
};

}  // namespace

TEST_CASE("the same batches in the same order give the same bits, whatever the threads and whoever computes beside") {
  const TemporaryDirectory directory, beside;
  const auto model = wide_config_in(directory);
  make_model(beside.path(), small_config());
  const auto alone = train(model, 1, 5);
  for (const int threads : {1, 2, 4}) CHECK(train(model, threads, 5) == alone);
  {
    const Neighbour training(open_student(model, 8, 2), nullptr);
    for (const int threads : {1, 2, 4}) CHECK(train(model, threads, 5) == alone);
  }
  {
    const Neighbour sampling(nullptr, open_teacher(beside.path().string(), 2));
    for (const int threads : {1, 2, 4}) CHECK(train(model, threads, 5) == alone);
  }
  CHECK(train(model, 1, 5, {1, 0}).weights != alone.weights);
  const auto whole = train(model, 1, 0);
  for (const int threads : {2, 4}) CHECK(train(model, threads, 0) == whole);
}

TEST_CASE("rows at a time change no loss of the first step, and bits of the gradient alone") {
  const TemporaryDirectory directory;
  const auto model = wide_config_in(directory);
  const auto whole = train(model, 1, 0);
  CHECK(train(model, 1, 33) == whole);
  CHECK(train(model, 1, 1000) == whole);
  std::vector<std::string> digests{whole.weights};
  for (const std::size_t rows : {1u, 2u, 4u, 7u}) {
    CAPTURE(rows);
    const auto micro = train(model, 1, rows);
    CHECK(micro.losses[0] == whole.losses[0]);
    for (std::size_t i = 0; i < whole.losses.size(); ++i) {
      CHECK(micro.losses[i] == doctest::Approx(whole.losses[i]).epsilon(1e-4));
      CHECK(micro.gradient_norms[i] == doctest::Approx(whole.gradient_norms[i]).epsilon(1e-4));
    }
    digests.push_back(micro.weights);
  }
  std::sort(digests.begin(), digests.end());
  CHECK(std::adjacent_find(digests.begin(), digests.end()) == digests.end());  // it is honoured: each rounds its own way
}

TEST_CASE("a micro-batch that fails leaves nothing of those before it") {
  const TemporaryDirectory directory;
  const auto model = wide_config_in(directory);
  const auto student = open_student(model), other = open_student(model);
  auto bad = make_batch(6);
  bad.push_back(make_datum({1, 99}));
  CHECK_FALSE(forward_backward(*student, bad, {.micro_batch_rows = 2}));
  CHECK_FALSE(optim_step(*student));
  for (auto* s : {student.get(), other.get()}) {
    REQUIRE(forward_backward(*s, make_batch(6), {.micro_batch_rows = 2}));
    REQUIRE(optim_step(*s));
  }
  CHECK(digest(*student) == digest(*other));
}
