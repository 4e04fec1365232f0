#include "ports/embedded/compute_thread.hpp"

#include <ATen/Parallel.h>
#include <omp.h>

#include <array>
#include <condition_variable>
#include <deque>
#include <thread>
#include <utility>

namespace pipestill::embedded {

void UsageMeter::start() {
  const std::lock_guard lock(mutex_);
  running_since_ = std::chrono::steady_clock::now();
}
void UsageMeter::stop() {
  const std::lock_guard lock(mutex_);
  done_ += std::chrono::steady_clock::now() - running_since_;
  running_since_ = {};
}
ModelUsage UsageMeter::usage() const {
  const std::lock_guard lock(mutex_);
  auto compute = done_;
  if (running_since_ != Time{}) compute += std::chrono::steady_clock::now() - running_since_;
  return {compute, tokens_.load(std::memory_order_relaxed)};
}

std::string first_line(const std::exception& e) {
  const std::string text = e.what();
  return text.substr(0, text.find('\n'));
}

struct ComputeThread::State {
  struct Task {
    std::shared_ptr<UsageMeter> meter;
    std::function<void()> run;
  };

  std::mutex mutex;  ///< guards the queues and is_stopping
  std::condition_variable changed;
  std::array<std::deque<Task>, 2> queues;  ///< by Priority
  bool is_stopping = false;
  std::thread thread;

  void loop() {
    // ATen sets this thread's OpenMP default when it is first asked; after that it stays ours. With a default of one,
    // neither ATen nor oneDNN ever splits an operation; for_blocks() names its team's size itself.
    (void)at::get_num_threads();
    omp_set_num_threads(1);
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [this] { return is_stopping || !queues[0].empty() || !queues[1].empty(); });
      if (is_stopping) return;
      auto& queue = queues[0].empty() ? queues[1] : queues[0];
      auto task = std::move(queue.front());
      queue.pop_front();
      lock.unlock();
      if (task.meter) task.meter->start();
      task.run();
      if (task.meter) task.meter->stop();
      task = {};  // what the task held goes before the lock is taken again
      lock.lock();
    }
  }
};

ComputeThread::ComputeThread() : state_(std::make_shared<State>()) {
  state_->thread = std::thread([state = state_] { state->loop(); });
}

ComputeThread::~ComputeThread() {
  std::array<std::deque<State::Task>, 2> unrun;  // destroyed last and outside the lock: handlers may run in it
  {
    const std::lock_guard lock(state_->mutex);
    state_->is_stopping = true;
    std::swap(unrun, state_->queues);
  }
  state_->changed.notify_all();
  if (state_->thread.get_id() == std::this_thread::get_id()) {
    state_->thread.detach();
  } else {
    state_->thread.join();
  }
}

void ComputeThread::submit(Priority priority, std::shared_ptr<UsageMeter> meter, std::function<void()> task) {
  {
    const std::lock_guard lock(state_->mutex);
    state_->queues[static_cast<std::size_t>(priority)].push_back({std::move(meter), std::move(task)});
  }
  state_->changed.notify_all();
}

}  // namespace pipestill::embedded
