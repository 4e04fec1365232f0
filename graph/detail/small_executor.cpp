// The TBB-free executor: a few threads that share one lock. Later stages first, so that a batch leaves before another enters.
#include <condition_variable>
#include <map>
#include <thread>

#include "graph/detail/run.hpp"

namespace pipestill::graph::detail {
namespace {

class SmallExecutor final : public Passage {
 public:
  SmallExecutor(Run& run, Clock& clock) : run_(run), simulated_(dynamic_cast<SimulatedClock*>(&clock)), places_(run.stages().size()) {
    run_.attach(*this);
    for (auto& place : places_) place.next = run.first().value;
    for (auto& slot : run.slots()) free_.push_back(slot.get());
  }

  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      if (const auto next = pick()) {
        ++running_;
        lock.unlock();
        if (next->stage == kSource) admit(next->slot);
        else pass(next->stage, next->slot);
        lock.lock();
        if (next->stage != kSource) places_[next->stage].is_beginning = false;
        --running_;
        changed_.notify_all();
      } else if (is_source_closed_ && free_.size() == run_.slots().size()) {
        return;
      } else if (running_ == 0 && outstanding_ == 0) {
        return;  // nothing can happen any more: the report will say what was lost
      } else if (simulated_ && running_ == 0) {
        const auto seen = completions_;
        lock.unlock();
        const bool has_moved = simulated_->advance();
        lock.lock();
        // Without a timer, only a port with a thread of its own can answer.
        if (!has_moved) changed_.wait(lock, [&] { return completions_ != seen; });
      } else {
        changed_.wait(lock);
      }
    }
  }

 private:
  static constexpr std::size_t kSource = static_cast<std::size_t>(-1);
  struct Work {
    std::size_t stage;
    Slot* slot;
  };
  struct Place {                               // of one stage
    std::map<std::uint64_t, Slot*> waiting;    // by sequence number
    std::uint64_t next = 0;                    // of the batches that begin in sequence
    std::size_t in_service = 0;
    bool is_beginning = false;  // in sequence: one batch begins after the other
  };

  std::optional<Work> pick() {
    for (std::size_t i = places_.size(); i-- > 0;) {
      auto& place = places_[i];
      const auto& plan = run_.stages()[i];
      if (place.waiting.empty() || place.in_service >= plan.limit || place.is_beginning) continue;
      const auto first = place.waiting.begin();
      if ((plan.is_in_sequence || plan.reads) && first->first != place.next) continue;
      if (plan.reads && !run_.has_version(Seq{first->first})) continue;
      if (i == 0 && run_.counts_bytes() && !run_.has_bytes(Seq{first->first})) continue;
      Slot* slot = first->second;
      place.waiting.erase(first);
      ++place.next;
      ++place.in_service;
      place.is_beginning = plan.is_in_sequence;
      return Work{i, slot};
    }
    if (is_source_closed_ || is_source_busy_ || free_.empty()) return std::nullopt;
    is_source_busy_ = true;
    Slot* slot = free_.back();
    free_.pop_back();
    return Work{kSource, slot};
  }

  void admit(Slot* slot) {
    const bool is_admitted = run_.admit(*slot);
    if (is_admitted) pass_grants();
    std::lock_guard lock(mutex_);
    is_source_busy_ = false;
    if (is_admitted) {
      places_[0].waiting.emplace(slot->context.seq.value, slot);
    } else {
      is_source_closed_ = true;
      free_.push_back(slot);
    }
  }

  void pass(std::size_t stage, Slot* slot) {
    if (run_.stages()[stage].call) {
      run_.call(stage, *slot);
      const bool is_sink = stage + 1 == places_.size();
      if (is_sink) run_.retire(*slot);
      pass_grants();
      std::lock_guard lock(mutex_);
      leave(stage, slot);
    } else {
      {
        std::lock_guard lock(mutex_);
        ++outstanding_;
      }
      run_.start(stage, *slot);
    }
  }

  void passed(std::size_t stage, Slot& slot) noexcept override {
    pass_grants();
    std::lock_guard lock(mutex_);
    --outstanding_;
    ++completions_;
    leave(stage, &slot);
    changed_.notify_all();  // under the lock: once it is free, this object may be gone
  }

  /// Nobody needs to be told what was granted: pick() asks.
  void pass_grants() {
    if (run_.counts_bytes()) static_cast<void>(run_.grant_bytes());
  }

  void leave(std::size_t stage, Slot* slot) {
    --places_[stage].in_service;
    if (stage + 1 < places_.size()) places_[stage + 1].waiting.emplace(slot->context.seq.value, slot);
    else free_.push_back(slot);
  }

  Run& run_;
  SimulatedClock* const simulated_;
  std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  std::vector<Place> places_;
  std::vector<Slot*> free_;
  std::size_t running_ = 0, outstanding_ = 0;
  std::uint64_t completions_ = 0;
  bool is_source_busy_ = false, is_source_closed_ = false;
};

}  // namespace

void run_small(Run& run, std::size_t threads, Clock& clock) {
  SmallExecutor executor(run, clock);
  std::vector<std::jthread> others;
  for (std::size_t k = 1; k < threads; ++k) others.emplace_back([&] { executor.work(); });
  executor.work();
}

}  // namespace pipestill::graph::detail
