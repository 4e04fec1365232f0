#pragma once
// Monitor: a look at a run from outside, for progress lines.
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace pipestill::graph {

struct StageGauge {
  std::string name;
  std::uint64_t waiting = 0;     ///< arrived, not begun
  std::uint64_t in_service = 0;
  std::uint64_t done = 0;
};

namespace detail {
class Run;
}

/// Thread-safe. Read at any time: empty before the run begins, the last state after it ended.
class Monitor {
 public:
  [[nodiscard]] std::vector<StageGauge> read() const;

 private:
  friend class detail::Run;
  mutable std::mutex mutex_;           // guards both
  const detail::Run* run_ = nullptr;   // while it lives
  std::vector<StageGauge> last_;
};

}  // namespace pipestill::graph
