#include "bench/makespan.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <pcg_random.hpp>
#include <vector>

using namespace pipestill::bench;
using std::chrono::nanoseconds;
using Times = std::vector<nanoseconds>;

namespace {

Times times(const std::vector<int>& values) {
  Times out;
  for (const int v : values) out.emplace_back(v);
  return out;
}

/// The rules in words, one nanosecond after the other.
nanoseconds by_ticks(const Times& teacher, const Times& training, std::size_t depth, bool is_in_sequence) {
  struct Batch {
    std::int64_t answered;
    bool is_taken = false;
  };
  std::vector<Batch> batches;  // admitted
  std::size_t credits = depth, steps = 0;
  std::optional<std::int64_t> free_at;  // the trainer's step under way ends
  for (std::int64_t now = 0;; ++now) {
    for (;;) {  // what happens at this instant may make more happen
      if (free_at == now) {
        free_at.reset();
        ++credits;
        if (steps == training.size()) return nanoseconds(now);
      } else if (credits > 0 && batches.size() < teacher.size()) {
        --credits;
        batches.push_back({now + teacher[batches.size()].count()});
      } else if (!free_at) {
        std::vector<std::size_t> ready;
        for (std::size_t n = 0; n < batches.size(); ++n) {
          if (!batches[n].is_taken && batches[n].answered <= now) ready.push_back(n);
        }
        if (ready.empty()) break;
        const auto chosen = is_in_sequence ? ready.front() : *std::min_element(ready.begin(), ready.end(), [&](auto a, auto b) {
          return batches[a].answered < batches[b].answered;
        });
        if (is_in_sequence && chosen != steps) break;
        batches[chosen].is_taken = true;
        free_at = now + training[steps++].count();
      } else {
        break;
      }
    }
  }
}

}  // namespace

TEST_CASE("equal latencies: the fill, then the busier of the two, whatever the order") {
  const Times teacher(100, nanoseconds(20)), training(100, nanoseconds(10));
  for (const auto makespan : {makespan_in_sequence, makespan_in_completion_order}) {
    CHECK(makespan(teacher, training, 1).count() == 3000);
    CHECK(makespan(teacher, training, 2).count() == 1510);  // two every 30, and the last step of the other one
    CHECK(makespan(teacher, training, 4).count() == 1020);
    CHECK(makespan(teacher, training, 8).count() == 1020);
    CHECK(makespan({}, {}, 4).count() == 0);
  }
}

TEST_CASE("in sequence a straggler holds up those behind it, in completion order they pass") {
  const auto teacher = times({50, 10, 10}), training = times({10, 10, 10});
  CHECK(makespan_in_sequence(teacher, training, 3).count() == 80);
  CHECK(makespan_in_completion_order(teacher, training, 3).count() == 60);
  // With two credits the third batch begins when the first to have trained gives its credit back: at 60, or at 20.
  CHECK(makespan_in_sequence(teacher, training, 2).count() == 80);
  CHECK(makespan_in_completion_order(teacher, training, 2).count() == 60);
  CHECK(makespan_in_sequence(teacher, training, 1).count() == 100);
  CHECK(makespan_in_completion_order(teacher, training, 1).count() == 100);
}

TEST_CASE("both makespans are what the rules give, instant by instant") {
  constexpr std::uint64_t kSeed = 20260723;
  MESSAGE("seed ", kSeed);
  pcg32 random(kSeed);
  bool is_order_ever_dearer = false;
  for (int trial = 0; trial < 2000; ++trial) {
    const std::size_t n = 1 + random(12), depth = 1 + random(6);
    Times teacher(n), training(n);
    for (auto& t : teacher) t = nanoseconds(random(30));
    for (auto& t : training) t = nanoseconds(1 + random(trial % 2 ? 12 : 1));
    CAPTURE(trial);
    const auto in_sequence = makespan_in_sequence(teacher, training, depth), in_completion_order = makespan_in_completion_order(teacher, training, depth);
    CHECK(in_sequence == by_ticks(teacher, training, depth, true));
    CHECK(in_completion_order == by_ticks(teacher, training, depth, false));
    is_order_ever_dearer = is_order_ever_dearer || in_sequence > in_completion_order;
  }
  CHECK(is_order_ever_dearer);
}
