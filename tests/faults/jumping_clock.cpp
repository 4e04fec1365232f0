// LD_PRELOAD=libjumping_clock.so: the wall clock of a program, shifted by an amount that changes. Clocks that only count stay as they are.
//
//   PIPESTILL_TEST_CLOCK=BEGIN,STEP,MS  the shift is BEGIN seconds, and after every MS milliseconds STEP more
//   PIPESTILL_TEST_CLOCK_LOG=FILE       at the program's end: how often it read the wall clock, and how often that was earlier than it had been
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

std::int64_t kernel_clock(clockid_t clock) {
  timespec now{};
  ::syscall(SYS_clock_gettime, clock, &now);
  return std::int64_t{now.tv_sec} * kSecond + now.tv_nsec;
}

class JumpingClock {
 public:
  JumpingClock() {
    long long begin = 0, step = 0, every = 0;
    const char* text = std::getenv("PIPESTILL_TEST_CLOCK");
    if (!text || std::sscanf(text, "%lld,%lld,%lld", &begin, &step, &every) != 3 || every <= 0) {
      std::fputs("libjumping_clock.so needs PIPESTILL_TEST_CLOCK=BEGIN,STEP,MS\n", stderr);
      std::_Exit(2);
    }
    begin_ = begin * kSecond, step_ = step * kSecond, every_ = every * 1'000'000;
  }
  ~JumpingClock() {
    const char* name = std::getenv("PIPESTILL_TEST_CLOCK_LOG");
    std::FILE* file = name ? std::fopen(name, "a") : nullptr;
    if (!file) return;
    std::fprintf(file, "%ld readings, %ld back\n", readings_.load(), back_.load());
    std::fclose(file);
  }

  std::int64_t now(clockid_t clock) {
    const auto jumps = (kernel_clock(CLOCK_MONOTONIC) - started_) / every_;
    const auto shown = kernel_clock(clock) + begin_ + step_ * jumps;
    ++readings_;
    if (shown < last_.exchange(shown)) ++back_;
    return shown;
  }

 private:
  std::int64_t begin_ = 0, step_ = 0, every_ = 1, started_ = kernel_clock(CLOCK_MONOTONIC);
  std::atomic<std::int64_t> last_{0};
  std::atomic<long> readings_{0}, back_{0};
};

JumpingClock& jumping_clock() {
  static JumpingClock clock;
  return clock;
}

}  // namespace

extern "C" {

[[gnu::visibility("default")]] int clock_gettime(clockid_t clock, timespec* into) noexcept {
  const bool is_wall = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
  if (!is_wall) return static_cast<int>(::syscall(SYS_clock_gettime, clock, into));
  const auto now = jumping_clock().now(clock);
  into->tv_sec = now / kSecond, into->tv_nsec = now % kSecond;
  return 0;
}

[[gnu::visibility("default")]] int gettimeofday(timeval* __restrict into, void* __restrict) noexcept {
  const auto now = jumping_clock().now(CLOCK_REALTIME);
  into->tv_sec = now / kSecond, into->tv_usec = now % kSecond / 1000;
  return 0;
}

[[gnu::visibility("default")]] std::time_t time(std::time_t* into) noexcept {
  const auto now = jumping_clock().now(CLOCK_REALTIME) / kSecond;
  if (into) *into = now;
  return now;
}

}  // extern "C"
