#pragma once
// Work shared by the threads of one operation.
#include <algorithm>
#include <cstdint>

namespace pipestill::embedded {

/// Calls f(begin, end) over 0..count-1 in blocks of `block`, the last maybe shorter, on at most `threads` threads.
/// The blocks never depend on the number of threads, so whatever f computes from one block does not either. f must not throw.
///
/// The team's size is given here and the OpenMP default is 1 on a compute thread (see ComputeThread), so libraries called
/// from f or beside it never start a team of their own, whose splitting would be theirs to choose.
template <class F>
void for_blocks(int threads, std::int64_t count, std::int64_t block, const F& f) {
  const std::int64_t blocks = (count + block - 1) / block;
  if (threads <= 1 || blocks <= 1) {
    for (std::int64_t b = 0; b < blocks; ++b) f(b * block, std::min(count, (b + 1) * block));
    return;
  }
#pragma omp parallel for num_threads(threads) schedule(static)
  for (std::int64_t b = 0; b < blocks; ++b) f(b * block, std::min(count, (b + 1) * block));
}

}  // namespace pipestill::embedded
