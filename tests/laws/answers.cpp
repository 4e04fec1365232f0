#include "tests/laws/answers.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace pipestill::laws {
namespace {

std::size_t pick_one(Pick pick, std::size_t size, pcg32& random, const std::function<bool(std::size_t, std::size_t)>& is_older) {
  std::size_t chosen = 0;
  if (pick == Pick::random) return random(static_cast<std::uint32_t>(size));
  for (std::size_t k = 1; k < size; ++k) {
    if (is_older(k, chosen) == (pick == Pick::oldest)) chosen = k;
  }
  return chosen;
}

}  // namespace

HastyAnswers::HastyAnswers(Pick pick, std::uint64_t seed) : pick_(pick), seed_(seed) {
  for (std::uint64_t stream = 0; stream < 2; ++stream) threads_.emplace_back([this, stream](const std::stop_token& stop) { work(stop, stream); });
}

HastyAnswers::~HastyAnswers() = default;

void HastyAnswers::later(std::size_t, std::uint64_t n, std::function<void()> answer) {
  {
    std::lock_guard lock(mutex_);
    calls_.push_back({n, std::move(answer)});
  }
  changed_.notify_one();
}

void HastyAnswers::work(const std::stop_token& stop, std::uint64_t stream) {
  pcg32 random(seed_, stream);
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [&] { return !calls_.empty(); })) {
    if (const auto pauses = random(24u); pauses < 12) {
      lock.unlock();
      for (unsigned k = 0; k < pauses; ++k) std::this_thread::yield();
      lock.lock();
      if (calls_.empty()) continue;
    }
    const auto chosen = pick_one(pick_, calls_.size(), random, [&](std::size_t a, std::size_t b) { return calls_[a].n < calls_[b].n; });
    auto call = std::move(calls_[chosen]);
    calls_.erase(calls_.begin() + static_cast<std::ptrdiff_t>(chosen));
    lock.unlock();
    call.answer();
    call.answer = nullptr;  // what it holds dies here, and not under the lock
    lock.lock();
  }
  while (!calls_.empty()) {  // after the run: answers that nobody waits for
    auto call = std::move(calls_.back());
    calls_.pop_back();
    lock.unlock();
    call.answer();
    call.answer = nullptr;
    lock.lock();
  }
}

GatedAnswers::GatedAnswers(const Flow& flow, Pick pick, std::uint64_t seed) : flow_(flow), pick_(pick), random_(seed) {
  gates_[0].stage = flow.sampling;
  gates_[1].stage = flow.training;
  gates_[2].stage = flow.evaluation;
  for (auto& gate : gates_) gate.is_answered.resize(flow.batches);
  thread_ = std::jthread([this](const std::stop_token& stop) { work(stop); });
}

GatedAnswers::~GatedAnswers() = default;

void GatedAnswers::later(std::size_t stage, std::uint64_t n, std::function<void()> answer) {
  {
    std::lock_guard lock(mutex_);
    for (auto& gate : gates_) {
      if (gate.stage.number == stage) gate.outstanding.emplace_back(n, std::move(answer));
    }
  }
  changed_.notify_one();
}

std::string GatedAnswers::broken() const {
  std::lock_guard lock(mutex_);
  return broken_;
}

std::array<std::uint64_t, 3> GatedAnswers::expected() const {
  const auto& [sampling, training, evaluation] = gates_;
  const auto trained = training.answered;
  const auto retired = flow_.evaluation.number ? evaluation.lowest_unanswered : trained;
  const auto admitted = std::min(flow_.batches, retired + flow_.depth);
  const auto may_be_sampled = std::min<std::uint64_t>(admitted, trained + flow_.staleness + 1);
  return {std::min<std::uint64_t>(flow_.sampling.limit, may_be_sampled - sampling.answered),
          sampling.lowest_unanswered > trained ? 1u : 0u,
          flow_.evaluation.number ? std::min<std::uint64_t>(flow_.evaluation.limit, trained - evaluation.answered) : 0};
}

std::array<std::uint64_t, 3> GatedAnswers::outstanding() const {
  return {gates_[0].outstanding.size(), gates_[1].outstanding.size(), gates_[2].outstanding.size()};
}

void GatedAnswers::work(const std::stop_token& stop) {
  const auto complain = [&](const char* what) {
    const auto is = outstanding(), due = expected();
    broken_ = what;
    for (std::size_t k = 0; k < 3; ++k) broken_ += "; stage " + std::to_string(gates_[k].stage.number) + ": " + std::to_string(is[k]) + " calls outstanding, due " + std::to_string(due[k]);
  };
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    if (broken_.empty()) {
      const auto is_beyond = [&] {
        const auto is = outstanding(), due = expected();
        return is[0] > due[0] || is[1] > due[1] || is[2] > due[2];
      };
      // Far above what a busy machine needs, and below the watchdog's patience.
      const bool stands = changed_.wait_for(lock, stop, std::chrono::seconds(10), [&] { return is_beyond() || outstanding() == expected(); });
      if (stop.stop_requested()) break;
      if (is_beyond()) complain("more has begun than may begin");
      else if (!stands) complain("nothing moves, and not everything has begun that may begin");
    }
    // From here on either the order is forced, or it does not matter any more and everything is let go.
    std::vector<std::pair<Gate*, std::size_t>> calls;
    for (auto& gate : gates_) {
      for (std::size_t k = 0; k < gate.outstanding.size(); ++k) calls.emplace_back(&gate, k);
    }
    if (calls.empty()) {
      if (!changed_.wait(lock, stop, [&] { return outstanding() != std::array<std::uint64_t, 3>{}; })) break;
      continue;
    }
    const auto [gate, k] = calls[pick_one(pick_, calls.size(), random_, [&](std::size_t a, std::size_t b) {
      return calls[a].first->outstanding[calls[a].second].first < calls[b].first->outstanding[calls[b].second].first;
    })];
    auto [n, answer] = std::move(gate->outstanding[k]);
    gate->outstanding.erase(gate->outstanding.begin() + static_cast<std::ptrdiff_t>(k));
    gate->is_answered[n] = true;
    ++gate->answered;
    while (gate->lowest_unanswered < flow_.batches && gate->is_answered[gate->lowest_unanswered]) ++gate->lowest_unanswered;
    lock.unlock();
    answer();
    answer = nullptr;
    lock.lock();
  }
}

}  // namespace pipestill::laws
