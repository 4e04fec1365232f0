#include "bench/makespan.hpp"

#include <algorithm>
#include <functional>
#include <queue>

namespace pipestill::bench {

using std::chrono::nanoseconds;

nanoseconds makespan_in_sequence(std::span<const nanoseconds> teacher, std::span<const nanoseconds> training, std::size_t depth) {
  std::vector<nanoseconds> retired(teacher.size());
  nanoseconds last{};
  for (std::size_t n = 0; n < teacher.size(); ++n) {
    const auto begun = n >= depth ? retired[n - depth] : nanoseconds{};
    last = retired[n] = std::max(begun + teacher[n], last) + training[n];
  }
  return last;
}

nanoseconds makespan_in_completion_order(std::span<const nanoseconds> teacher, std::span<const nanoseconds> training, std::size_t depth) {
  std::priority_queue<nanoseconds, std::vector<nanoseconds>, std::greater<>> answers;  // when those admitted and not yet trained on come
  std::size_t admitted = 0;
  const auto admit = [&](nanoseconds now) {
    if (admitted == teacher.size()) return;
    answers.push(now + teacher[admitted]);
    ++admitted;
  };
  while (admitted < std::min(depth, teacher.size())) admit({});
  // Steps follow each other, so the next one is that of the earliest answer there is: none that is still to be admitted can be earlier, for
  // it will begin when this step ends.
  nanoseconds now{};
  for (const auto step : training) {
    now = std::max(now, answers.top()) + step;
    answers.pop();
    admit(now);
  }
  return now;
}

}  // namespace pipestill::bench
