#include "graph/base/clock.hpp"

#ifdef __linux__
#include <sys/prctl.h>
#endif

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <queue>
#include <thread>
#include <utility>
#include <vector>

namespace pipestill {

struct Timer {
  Clock::Time when;
  std::uint64_t order;
  std::function<void()> f;
  friend bool operator<(const Timer& a, const Timer& b) {  // of a max-heap: the earliest comes out first
    return a.when != b.when ? a.when > b.when : a.order > b.order;
  }
};

class TimerQueue {
 public:
  void push(Clock::Time when, std::function<void()> f) { heap_.push({when, order_++, std::move(f)}); }
  [[nodiscard]] bool empty() const { return heap_.empty(); }
  [[nodiscard]] Clock::Time earliest() const { return heap_.top().when; }
  Timer pop() {
    Timer timer = std::move(const_cast<Timer&>(heap_.top()));  // priority_queue has no way to move its top out
    heap_.pop();
    return timer;
  }

 private:
  std::priority_queue<Timer> heap_;
  std::uint64_t order_ = 0;
};

// Shared with the thread: a timer may hold the last reference to the clock, which then dies on that very thread.
struct SystemClock::Timers {
  void run() {
#ifdef __linux__
    prctl(PR_SET_TIMERSLACK, 1);  // of this thread: by default the kernel lets every timer be 50 µs late
#endif
    std::unique_lock lock(mutex);
    while (!is_over) {
      if (queue.empty()) {
        changed.wait(lock);
      } else if (const auto due = start + queue.earliest(); std::chrono::steady_clock::now() < due) {
        changed.wait_until(lock, due);
      } else {
        auto timer = queue.pop();
        lock.unlock();
        timer.f();
        timer.f = nullptr;  // what it holds may die here, and must not do so under the lock
        lock.lock();
      }
    }
  }
  const std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
  std::mutex mutex;  // guards all below
  std::condition_variable changed;
  TimerQueue queue;
  std::thread thread;
  bool is_over = false;  // the clock is dying: no new timers, and the thread ends
};

SystemClock::SystemClock() : timers_(std::make_shared<Timers>()), start_(timers_->start) {}

SystemClock::~SystemClock() {
  std::unique_lock lock(timers_->mutex);
  timers_->is_over = true;
  auto thread = std::move(timers_->thread);
  auto dropped = std::exchange(timers_->queue, {});
  lock.unlock();
  if (!thread.joinable()) return;
  timers_->changed.notify_all();
  if (thread.get_id() == std::this_thread::get_id()) thread.detach();  // it ends when the timer that brought us here returns
  else thread.join();
}

void SystemClock::call_at(Time when, std::function<void()> f) {
  {
    std::lock_guard lock(timers_->mutex);
    if (timers_->is_over) return;
    timers_->queue.push(when, std::move(f));
    if (!timers_->thread.joinable()) timers_->thread = std::thread([t = timers_] { t->run(); });
  }
  timers_->changed.notify_one();
}

struct SimulatedClock::Timers {
  std::mutex mutex;  // guards queue
  TimerQueue queue;
  std::atomic<Time::rep> now{0};
};

SimulatedClock::SimulatedClock() : timers_(std::make_unique<Timers>()) {}
SimulatedClock::~SimulatedClock() = default;

Clock::Time SimulatedClock::now() const noexcept { return Time(timers_->now.load()); }

void SimulatedClock::call_at(Time when, std::function<void()> f) {
  std::lock_guard lock(timers_->mutex);
  timers_->queue.push(when, std::move(f));
}

bool SimulatedClock::advance() {
  std::unique_lock lock(timers_->mutex);
  if (timers_->queue.empty()) return false;
  auto timer = timers_->queue.pop();
  if (timer.when.count() > timers_->now.load()) timers_->now.store(timer.when.count());
  lock.unlock();
  timer.f();
  return true;
}

}  // namespace pipestill
