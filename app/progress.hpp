#pragma once
// Progress: one live line on a terminal.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "graph/monitor.hpp"
#include "nodes/evaluation.hpp"
#include "nodes/messages.hpp"

namespace pipestill::app {

/// Draws on stderr a few times a second while it lives, and clears its line at the end. Where stderr is no terminal, it draws nothing.
/// Thread-safe.
class Progress {
 public:
  Progress(std::shared_ptr<const graph::Monitor> monitor, bool is_wanted);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  [[nodiscard]] bool is_live() const { return is_live_; }
  void set_total(std::uint64_t steps);
  void on_step(const StepResult& step);
  /// A line of its own on stderr.
  void say(const std::string& text);
  void on_evaluation(const EvaluationRecord& record);

 private:
  void draw_until_stopped(const std::stop_token& stop);
  void draw();

  const std::shared_ptr<const graph::Monitor> monitor_;
  const bool is_live_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable_any changed_;
  std::uint64_t total_steps_ = 0, steps_ = 0, tokens_ = 0;
  std::optional<double> loss_, exact_match_;
  std::optional<std::chrono::steady_clock::time_point> began_;
  std::jthread thread_;  // last: it ends before what it reads
};

}  // namespace pipestill::app
