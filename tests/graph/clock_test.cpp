#include "graph/base/clock.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <thread>
#include <vector>

#include "tests/laws/watchdog.hpp"

using namespace pipestill;
using namespace std::chrono_literals;

TEST_CASE("a simulated clock runs timers in the order of their times, and equal times in the order of the calls") {
  SimulatedClock clock;
  std::vector<int> ran;
  clock.call_at(20ms, [&] { ran.push_back(3); });
  clock.call_at(10ms, [&] {
    ran.push_back(1);
    CHECK(clock.now() == 10ms);
    clock.call_at(10ms, [&] { ran.push_back(2); });
  });
  clock.call_at(20ms, [&] { ran.push_back(4); });
  while (clock.advance()) {
  }
  CHECK(ran == std::vector{1, 2, 3, 4});
  CHECK(clock.now() == 20ms);
}

TEST_CASE("a simulated clock never goes back") {
  SimulatedClock clock;
  clock.call_at(10ms, [] {});
  CHECK(clock.advance());
  clock.call_at(5ms, [] {});
  CHECK(clock.advance());
  CHECK(clock.now() == 10ms);
  CHECK_FALSE(clock.advance());
}

TEST_CASE("a system clock calls back from a thread of its own, in the order of the times") {
  SystemClock clock;
  std::promise<std::thread::id> last;
  std::vector<int> ran;  // touched by the timer thread only, and read after it said so
  clock.call_at(clock.now(), [&] {  // on the timer thread, so that no timer runs between the two calls
    const auto now = clock.now();
    clock.call_at(now + 2us, [&] {
      ran.push_back(2);
      last.set_value(std::this_thread::get_id());
    });
    clock.call_at(now + 1us, [&] { ran.push_back(1); });
  });
  const bool is_own_thread = last.get_future().get() != std::this_thread::get_id();
  CHECK(is_own_thread);
  CHECK(ran == std::vector{1, 2});
}

TEST_CASE("a system clock that dies drops its pending timers") {
  bool has_run = false;
  {
    SystemClock clock;
    clock.call_at(clock.now() + 1h, [&] { has_run = true; });
  }
  CHECK_FALSE(has_run);
}

TEST_CASE("a system clock dies at once, whatever its thread is just about to do") {
  const laws::Watchdog watchdog([] { return std::string("a clock does not die"); });
  // More threads than cores, so that some are interrupted in the middle of it.
  std::vector<std::jthread> threads;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([] {
      for (int k = 0; k < 1000; ++k) {
        std::atomic<bool> has_run{false};
        SystemClock clock;
        clock.call_at({}, [&] { has_run = true; });
        while (!has_run) std::this_thread::yield();
        ++laws::Watchdog::moves;
        for (int spin = k % 100; spin > 0; --spin) has_run.load();  // until its thread looks for the next timer, or waits for one
      }
    });
  }
}

TEST_CASE("a system clock may die on its own thread, when a timer held the last reference") {
  std::promise<void> died;
  struct TellsDeath {
    std::promise<void>& died;
    std::shared_ptr<SystemClock> clock = std::make_shared<SystemClock>();
    ~TellsDeath() {
      clock.reset();
      died.set_value();
    }
  };
  {
    auto held = std::make_shared<TellsDeath>(died);
    auto& clock = *held->clock;
    std::promise<void> released;
    clock.call_at(clock.now(), [held, go = released.get_future().share()] { go.wait(); });
    held.reset();
    released.set_value();
  }
  died.get_future().get();
}
