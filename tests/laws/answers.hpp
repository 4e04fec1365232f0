#pragma once
// Answers: who completes the asynchronous calls of a run, when, and in which order.
#include <array>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <pcg_random.hpp>
#include <string>
#include <thread>
#include <vector>

#include "graph/base/clock.hpp"

namespace pipestill::laws {

/// Thread-safe. Outlives the run; what was not called when it dies is called then.
class Answers {
 public:
  virtual ~Answers() = default;
  /// Calls `answer` once, never from inside this call. It is of batch `n` in stage `stage`.
  virtual void later(std::size_t stage, std::uint64_t n, std::function<void()> answer) = 0;
};

/// After a latency on a clock, in the clock's order.
class TimedAnswers final : public Answers {
 public:
  using Latency = std::function<Clock::Time(std::size_t stage, std::uint64_t n)>;
  TimedAnswers(std::shared_ptr<Clock> clock, Latency latency) : clock_(std::move(clock)), latency_(std::move(latency)) {}
  void later(std::size_t stage, std::uint64_t n, std::function<void()> answer) override { clock_->call_at(clock_->now() + latency_(stage, n), std::move(answer)); }

 private:
  const std::shared_ptr<Clock> clock_;
  const Latency latency_;
};

/// Which of the outstanding calls is answered next.
enum class Pick { newest, oldest, random };

/// From two threads at once, with pauses of random length in which more calls may come.
class HastyAnswers final : public Answers {
 public:
  HastyAnswers(Pick pick, std::uint64_t seed);
  ~HastyAnswers() override;
  void later(std::size_t stage, std::uint64_t n, std::function<void()> answer) override;

 private:
  struct Call {
    std::uint64_t n;
    std::function<void()> answer;
  };
  void work(const std::stop_token& stop, std::uint64_t stream);

  const Pick pick_;
  const std::uint64_t seed_;
  std::mutex mutex_;  // guards calls_
  std::condition_variable_any changed_;
  std::vector<Call> calls_;
  std::vector<std::jthread> threads_;  // the last member: they end first
};

/// Answers one call when nothing else can happen any more, so that the order is forced whatever the threads do.
///
/// Of the flow [sampling: any order, reads] -> [plain stages that return] -> [training: in sequence, publishes] ->
/// [evaluation: in sequence, observes] -> sink, how many calls are outstanding once everything stands still follows from
/// the answers given so far. Fewer for good means that the engine holds back what it may begin, and more that it begins what it may not.
class GatedAnswers final : public Answers {
 public:
  struct Stage {
    std::size_t number = 0, limit = 1;
  };
  struct Flow {
    std::uint64_t batches = 0;
    std::size_t depth = 1, staleness = 0;
    Stage sampling, training, evaluation;  // evaluation.number 0: there is none
  };
  GatedAnswers(const Flow& flow, Pick pick, std::uint64_t seed);
  ~GatedAnswers() override;
  void later(std::size_t stage, std::uint64_t n, std::function<void()> answer) override;
  /// Empty: at every moment the calls were outstanding that had to be.
  [[nodiscard]] std::string broken() const;

 private:
  struct Gate {
    Stage stage;
    std::vector<std::pair<std::uint64_t, std::function<void()>>> outstanding;
    std::vector<bool> is_answered;  // by batch
    std::uint64_t answered = 0;
    std::uint64_t lowest_unanswered = 0;
  };
  void work(const std::stop_token& stop);
  [[nodiscard]] std::array<std::uint64_t, 3> expected() const;
  [[nodiscard]] std::array<std::uint64_t, 3> outstanding() const;

  const Flow flow_;
  const Pick pick_;
  pcg32 random_;
  mutable std::mutex mutex_;  // guards all below
  std::condition_variable_any changed_;
  std::array<Gate, 3> gates_;
  std::string broken_;
  std::jthread thread_;  // the last member: it ends first
};

}  // namespace pipestill::laws
