#include "graph/detail/run.hpp"

#include <cmath>
#include <exception>
#include <utility>

namespace pipestill::graph {

namespace detail {
namespace {

Error unexpected(const std::exception& e) { return {ErrorCode::internal, std::string("unexpected exception: ") + e.what()}; }
Error unexpected() { return {ErrorCode::internal, "unexpected exception of an unknown type"}; }

}  // namespace

std::chrono::nanoseconds DurationHistogram::quantile(double share) const {
  if (total_ == 0) return {};
  const auto rank = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(total_))));
  std::uint64_t seen = 0;
  std::size_t b = 0;
  while ((seen += counts_[b]) < rank) ++b;
  if (b < (2u << kSubBits)) return std::chrono::nanoseconds(b);
  const auto shift = (b >> kSubBits) - 1;
  const auto low = ((b & ((1u << kSubBits) - 1)) | (1u << kSubBits)) << shift;
  return std::chrono::nanoseconds(low + (std::uint64_t{1} << shift) / 2);
}

Run::Run(Plan plan, const EngineOptions& options, Clock& clock)
    : plan_(std::move(plan)), options_(options), clock_(clock), tallies_(std::make_unique<Tally[]>(plan_.stages.size())) {
  slots_.reserve(options.depth);
  for (std::size_t k = 0; k < options.depth; ++k) slots_.push_back(std::make_unique<Slot>());
  if (plan_.feedback) newest_ = std::move(plan_.feedback->initial);
  for (std::size_t k = 0; k < initial_versions(); ++k) versions_.push_back(IssuedVersion{{Version{}, newest_}, {}});
  began_ = clock_.now();
  if (options_.monitor) {
    std::lock_guard lock(options_.monitor->mutex_);
    options_.monitor->run_ = this;
  }
}

Run::~Run() {
  if (!options_.monitor) return;
  std::lock_guard lock(options_.monitor->mutex_);
  options_.monitor->last_ = gauges();
  options_.monitor->run_ = nullptr;
}

bool Run::admit(Slot& slot) {
  if (is_source_closed_) return false;
  is_source_closed_ = true;  // unless a batch comes out of what follows
  if (options_.stop.stop_requested() || options_.stop_now.stop_requested()) return false;
  const Seq seq{admitted_};  // changed by this caller only
  if (seq.value >= cut_.load()) return false;
  slot.context = {.seq = seq, .lease = {}, .stop = slot.stop.get_token()};
  try {
    auto next = plan_.next(slot.context);
    if (!next) {
      fail_at(seq, plan_.source_name, std::move(next.error()));
      return false;
    }
    if (!*next) {
      std::lock_guard lock(mutex_);
      is_source_at_end_ = true;
      return false;
    }
    slot.payload = **std::move(next);
  } catch (const std::exception& e) {
    fail_at(seq, plan_.source_name, unexpected(e));
    return false;
  } catch (...) {
    fail_at(seq, plan_.source_name, unexpected());
    return false;
  }
  is_source_closed_ = false;
  {
    std::lock_guard lock(mutex_);
    slot.live_seq = seq;
    ++admitted_;
  }
  // A cut that fell before the slot was live has not reached its stop source.
  if (seq.value >= cut_.load()) slot.stop.request_stop();
  slot.since = clock_.now();
  return true;
}

StageSpan Run::begin(std::size_t stage, Slot& slot, bool& is_wanted) {
  const auto& plan = plan_.stages[stage];
  const Seq seq = slot.context.seq;
  StageSpan span{.stage = plan.name, .seq = seq, .arrived = slot.since};
  Clock::Time version_at{};
  if (plan.reads) {
    auto version = take_version(seq);
    version_at = version.at;
    slot.context.lease = std::move(version.lease);
  }
  is_wanted = slot.payload && (plan.commits ? commit(seq) : seq.value < cut_.load());
  span.started = clock_.now();
  span.in_order = tallies_[stage].begin(slot.since, plan.is_in_sequence || plan.reads, span.started, is_wanted);
  span.admissible = std::max(span.in_order, version_at);
  if (is_wanted && options_.trace) options_.trace->started(span.stage, seq, span.started);
  return span;
}

void Run::finish(std::size_t stage, Slot& slot, StageSpan span, Result<Payload> result) {
  span.ended = clock_.now();
  const auto& plan = plan_.stages[stage];
  if (result) {
    slot.payload = *std::move(result);
  } else {
    slot.payload.reset();
  }
  tallies_[stage].end(span, true);
  if (options_.trace) {
    if (result) options_.trace->ended(span);
    else options_.trace->failed(span, result.error());
  }
  if (!result) fail_at(slot.context.seq, plan.name, std::move(result.error()));
  if (plan.publishes) issue_version(slot, !slot.payload);
  slot.since = span.ended;
}

void Run::pass_tombstone(std::size_t stage, Slot& slot, StageSpan span) {
  slot.payload.reset();
  span.ended = span.started;
  tallies_[stage].end(span, false);
  if (plan_.stages[stage].publishes) issue_version(slot, true);
  slot.since = span.ended;
}

void Run::call(std::size_t stage, Slot& slot) {
  bool is_wanted = false;
  const auto span = begin(stage, slot, is_wanted);
  if (!is_wanted) return pass_tombstone(stage, slot, span);
  const auto& plan = plan_.stages[stage];
  try {
    finish(stage, slot, span, plan.call(std::move(slot.payload), slot.context));
  } catch (const std::exception& e) {
    finish(stage, slot, span, fail(unexpected(e)));
  } catch (...) {
    finish(stage, slot, span, fail(unexpected()));
  }
}

void Run::start(std::size_t stage, Slot& slot, std::function<void()> done) {
  bool is_wanted = false;
  const auto span = begin(stage, slot, is_wanted);
  if (!is_wanted) {
    pass_tombstone(stage, slot, span);
    return done();
  }
  Completion<Payload> complete([this, stage, &slot, span, done = std::move(done)](Result<Payload> result) {
    finish(stage, slot, span, std::move(result));
    done();
  });
  const auto& plan = plan_.stages[stage];
  try {
    plan.start(std::move(slot.payload), slot.context, complete);
  } catch (const std::exception& e) {
    complete(fail(unexpected(e)));
  } catch (...) {
    complete(fail(unexpected()));
  }
}

void Run::retire(Slot& slot) {
  const bool is_complete = slot.payload != nullptr;
  slot.payload.reset();
  slot.context.lease = {};
  slot.context.next_value.reset();
  std::lock_guard lock(mutex_);
  slot.live_seq.reset();
  ++retired_;
  completed_ += is_complete ? 1 : 0;
}

bool Run::has_version(Seq seq) const {
  std::lock_guard lock(version_mutex_);
  return seq.value < first_version_ + versions_.size();
}

Run::IssuedVersion Run::take_version(Seq seq) {
  std::lock_guard lock(version_mutex_);
  // By number, not by arrival: batches whose versions are there may begin in any order.
  auto& place = versions_.at(seq.value - first_version_);
  IssuedVersion version = *std::exchange(place, std::nullopt);
  while (!versions_.empty() && !versions_.front()) {
    versions_.pop_front();
    ++first_version_;
  }
  return version;
}

void Run::issue_version(Slot& slot, bool is_tombstone) {
  auto next = std::exchange(slot.context.next_value, nullptr);
  slot.context.lease = {};  // nobody behind this stage reads it: a snapshot lives no longer than it must
  IssuedVersion version{.lease = {}, .at = clock_.now()};
  std::lock_guard lock(version_mutex_);
  if (!is_tombstone) {
    if (next) newest_.swap(next);  // the old one may die behind the lock: closing a snapshot can take long
    version.lease = {Version{++published_}, newest_};
  }
  versions_.push_back(std::move(version));
}

bool Run::commit(Seq seq) {
  std::lock_guard lock(mutex_);
  if (seq.value >= cut_.load()) return false;
  committed_ = seq.value + 1;
  return true;
}

void Run::fail_at(Seq seq, const std::string& stage, Error error) {
  std::unique_lock lock(mutex_);
  if (seq.value >= cut_.load()) return;  // not wanted any more: what our own abort caused, or a failure that a lower one outranks
  failure_ = RunReport::Failure{stage, seq, std::move(error)};
  lower_cut(std::move(lock), seq.value);
}

void Run::cut_now() {
  std::unique_lock lock(mutex_);
  if (committed_ < cut_.load()) lower_cut(std::move(lock), committed_);
}

void Run::lower_cut(std::unique_lock<std::mutex> lock, std::uint64_t cut) {
  cut_.store(cut);
  std::vector<std::stop_source> unwanted;
  for (const auto& slot : slots_) {
    if (slot->live_seq && slot->live_seq->value >= cut) unwanted.push_back(slot->stop);
  }
  lock.unlock();  // stop callbacks run here, and may complete a batch
  for (auto& stop : unwanted) stop.request_stop();
}

RunReport Run::report() const {
  RunReport report;
  std::lock_guard lock(mutex_);
  report.wall = clock_.now() - began_;
  report.admitted = admitted_;
  report.retired = retired_;
  report.completed = completed_;
  report.cut = Seq{std::min(cut_.load(), admitted_)};
  report.failure = failure_;
  for (std::size_t i = 0; i < plan_.stages.size(); ++i) report.stages.push_back(tallies_[i].report(plan_.stages[i].name));
  const bool is_whole = admitted_ == retired_ && completed_ == report.cut.value;
  if (report.failure) {
    report.status = RunReport::Status::failed;
  } else if (!is_whole) {
    report.status = RunReport::Status::failed;
    report.failure = RunReport::Failure{"engine", std::nullopt,
                                        {ErrorCode::internal, "of " + std::to_string(admitted_) + " batches " + std::to_string(retired_) + " retired and " +
                                                                  std::to_string(completed_) + " were completed: the engine lost some"}};
  } else if (is_source_at_end_ && completed_ == admitted_) {
    report.status = RunReport::Status::finished;
  } else {
    report.status = RunReport::Status::stopped;
  }
  return report;
}

std::vector<StageGauge> Run::gauges() const {
  std::vector<StageGauge> gauges;
  std::uint64_t arrived = 0;
  {
    std::lock_guard lock(mutex_);
    arrived = admitted_;
  }
  for (std::size_t i = 0; i < plan_.stages.size(); ++i) {
    const auto counts = tallies_[i].counts();
    // The counts are read one stage after the other while the run goes on: a later one may be ahead.
    gauges.push_back({plan_.stages[i].name, arrived > counts.begun ? arrived - counts.begun : 0, counts.begun - counts.passed, counts.passed});
    arrived = counts.passed;
  }
  return gauges;
}

}  // namespace detail

std::vector<StageGauge> Monitor::read() const {
  std::lock_guard lock(mutex_);
  return run_ ? run_->gauges() : last_;
}

}  // namespace pipestill::graph
