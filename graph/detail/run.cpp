#include "graph/detail/run.hpp"

#include <cmath>
#include <utility>

namespace pipestill::graph {

namespace detail {

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
    : plan_(std::move(plan)),
      options_(options),
      clock_(clock),
      tallies_(std::make_unique<Tally[]>(plan_.stages.size())),
      committed_(options.first.value),
      granted_(options.first.value),
      first_version_(options.first.value),
      published_(options.first.value) {
  slots_.reserve(options.depth);
  for (std::size_t k = 0; k < options.depth; ++k) {
    slots_.push_back(std::make_unique<Slot>());
    slots_.back()->run = this;
    slots_.back()->context.stop = slots_.back()->stop.get_token();
  }
  for (std::size_t k = 0; k < initial_versions(); ++k) {
    auto& value = plan_.feedback->initial.at(k);
    const auto trained = options.first.value + k, staleness = static_cast<std::uint64_t>(plan_.feedback->staleness.value);
    newest_ = value;
    versions_.push_back(IssuedVersion{{Version{trained > staleness ? trained - staleness : 0}, std::move(value)}, {}});
  }
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
  const Seq seq = next_seq();  // changed by this caller only
  if (seq.value >= cut_.load()) return false;
  slot.context.seq = seq;
  slot.context.bytes = 0;
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
  } catch (...) {
    fail_at(seq, plan_.source_name, thrown_error());
    return false;
  }
  is_source_closed_ = false;
  leave(slot, 0, clock_.now());
  {
    std::lock_guard lock(mutex_);
    slot.live_seq = seq;
    ++admitted_;
  }
  // A cut that fell before the slot was live has not reached its stop source.
  if (seq.value >= cut_.load()) slot.stop.request_stop();
  if (counts_bytes()) {
    std::lock_guard lock(byte_mutex_);
    ungranted_.push_back(&slot);
  }
  return true;
}

/// Notes that the slot waits before `next_stage`.
void Run::leave(Slot& slot, std::size_t next_stage, Clock::Time at) {
  slot.since = at;
  slot.at_stage.store(next_stage, std::memory_order_relaxed);
  slot.is_in_service.store(false, std::memory_order_relaxed);
  slot.there_since.store(at.count(), std::memory_order_relaxed);
}

std::size_t Run::grant_bytes() {
  std::size_t count = 0;
  std::lock_guard lock(byte_mutex_);
  while (!ungranted_.empty()) {
    Slot& slot = *ungranted_.front();
    const bool is_tombstone = slot.context.seq.value >= cut_.load();
    const auto wanted = is_tombstone ? 0 : slot.context.bytes;
    const bool is_oldest = granted_alive_ == 0;
    if (!is_oldest && !is_tombstone && (wanted > options_.depth_bytes || reserved_ > options_.depth_bytes - wanted)) break;
    ungranted_.pop_front();
    slot.reserved_bytes = wanted;
    reserved_ += wanted;
    peak_reserved_ = std::max(peak_reserved_, reserved_);
    ++granted_alive_;
    ++granted_;
    ++count;
    const auto now = clock_.now();
    byte_wait_ += now - slot.since;
    leave(slot, 0, now);
  }
  return count;
}

bool Run::has_bytes(Seq seq) const {
  std::lock_guard lock(byte_mutex_);
  return seq.value < granted_;
}

/// False for a batch that is not wanted any more.
bool Run::begin(std::size_t stage, Slot& slot) {
  const auto& plan = plan_.stages[stage];
  const Seq seq = slot.context.seq;
  slot.stage = stage;
  slot.span = {.stage = plan.name, .seq = seq, .arrived = slot.since};
  Clock::Time version_at{};
  if (plan.reads) {
    auto version = take_version(seq);
    version_at = version.at;
    slot.context.lease = std::move(version.lease);
  }
  const bool is_wanted = slot.payload && (plan.commits ? commit(seq) : seq.value < cut_.load());
  auto& span = slot.span;
  span.started = clock_.now();
  span.in_order = tallies_[stage].begin(slot.since, plan.is_in_sequence || plan.reads, span.started, is_wanted);
  span.admissible = std::max(span.in_order, version_at);
  slot.at_stage.store(stage, std::memory_order_relaxed);
  slot.is_in_service.store(true, std::memory_order_relaxed);
  slot.there_since.store(span.started.count(), std::memory_order_relaxed);
  if (is_wanted && options_.trace) options_.trace->started(span.stage, seq, span.started);
  return is_wanted;
}

void Run::finish(Slot& slot, Result<Payload>&& result) {
  auto& span = slot.span;
  span.ended = clock_.now();
  const auto& plan = plan_.stages[slot.stage];
  if (result) slot.payload = *std::move(result);
  else slot.payload.reset();
  tallies_[slot.stage].end(span, true);
  if (options_.trace) {
    if (result) options_.trace->ended(span);
    else options_.trace->failed(span, result.error());
  }
  if (!result) fail_at(slot.context.seq, plan.name, std::move(result.error()));
  if (plan.publishes) issue_version(slot, !slot.payload, span.ended);
  settle_bytes(slot);
  leave(slot, slot.stage + 1, span.ended);
}

void Run::pass_tombstone(Slot& slot) {
  slot.payload.reset();
  slot.span.ended = slot.span.started;
  tallies_[slot.stage].end(slot.span, false);
  if (plan_.stages[slot.stage].publishes) issue_version(slot, true, slot.span.ended);
  settle_bytes(slot);
  leave(slot, slot.stage + 1, slot.span.ended);
}

/// A tombstone needs no memory, and what a stage has found to be too much is for others.
void Run::settle_bytes(Slot& slot) {
  if (!counts_bytes()) return;
  const auto needed = slot.payload ? slot.context.bytes : 0;
  std::lock_guard lock(byte_mutex_);
  reserved_ = reserved_ - slot.reserved_bytes + needed;
  slot.reserved_bytes = needed;
  peak_reserved_ = std::max(peak_reserved_, reserved_);
}

void Run::call(std::size_t stage, Slot& slot) {
  if (!begin(stage, slot)) return pass_tombstone(slot);
  const auto& plan = plan_.stages[stage];
  try {
    finish(slot, plan.call(slot.payload, slot.context));
  } catch (...) {
    finish(slot, fail(thrown_error()));
  }
}

void Run::start(std::size_t stage, Slot& slot) {
  if (!begin(stage, slot)) {
    pass_tombstone(slot);
    return passage_->passed(stage, slot);
  }
  slot.thrown.reset();
  slot.to_come.store(2, std::memory_order_relaxed);
  try {
    plan_.stages[stage].start(slot.payload, slot.context, {&Run::deliver, &slot});
  } catch (...) {
    slot.thrown = thrown_error();
  }
  arrive(slot);
}

void Run::deliver(void* to, Result<Payload>&& result) {
  auto& slot = *static_cast<Slot*>(to);
  slot.answer = std::move(result);
  slot.run->arrive(slot);
}

/// The batch leaves when both have come, the call's return and its answer: what a stage throws outranks its answer, whichever was first, and
/// no completion is outstanding behind it.
void Run::arrive(Slot& slot) {
  if (slot.to_come.fetch_sub(1, std::memory_order_acq_rel) == 2) return;
  const auto stage = slot.stage;
  if (slot.thrown) finish(slot, fail(*std::exchange(slot.thrown, std::nullopt)));
  else finish(slot, std::move(slot.answer));
  passage_->passed(stage, slot);
}

void Run::retire(Slot& slot) {
  const bool is_complete = static_cast<bool>(slot.payload);
  slot.payload.reset();
  slot.context.lease = {};
  slot.context.next_value.reset();
  if (counts_bytes()) {
    settle_bytes(slot);
    std::lock_guard lock(byte_mutex_);
    --granted_alive_;
  }
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

void Run::issue_version(Slot& slot, bool is_tombstone, Clock::Time at) {
  auto next = std::exchange(slot.context.next_value, nullptr);
  slot.context.lease = {};  // nobody behind this stage reads it: a snapshot lives no longer than it must
  IssuedVersion version{.lease = {}, .at = at};
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
  report.cut = Seq{std::min(cut_.load(), next_seq().value)};
  report.failure = failure_;
  for (std::size_t i = 0; i < plan_.stages.size(); ++i) report.stages.push_back(tallies_[i].report(plan_.stages[i].name));
  {
    std::lock_guard bytes(byte_mutex_);
    report.byte_wait = byte_wait_;
    report.peak_bytes = peak_reserved_;
  }
  {
    std::lock_guard versions(version_mutex_);
    report.version = Version{published_};
  }
  const bool is_whole = admitted_ == retired_ && options_.first.value + completed_ == report.cut.value;
  if (report.failure) {
    report.status = RunReport::Status::failed;
  } else if (!is_whole) {
    report.status = RunReport::Status::failed;
    report.failure = RunReport::Failure{"engine", std::nullopt,
                                        {ErrorCode::internal, "of " + std::to_string(admitted_) + " batches " + std::to_string(retired_) + " retired and " +
                                                                  std::to_string(completed_) + " were completed: the engine lost some"}};
  } else if (is_source_at_end_ && completed_ == admitted_) {
    report.status = RunReport::Status::finished;
  } else if (options_.stop.stop_requested() || options_.stop_now.stop_requested()) {
    report.status = RunReport::Status::stopped;
  } else {
    report.status = RunReport::Status::failed;
    report.failure = RunReport::Failure{"engine", std::nullopt, {ErrorCode::internal, "the run ended before its source did: the engine lost a credit"}};
  }
  return report;
}

std::uint64_t Run::movements() const {
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < plan_.stages.size(); ++i) {
    const auto counts = tallies_[i].counts();
    count += counts.begun + counts.passed;
  }
  std::lock_guard lock(mutex_);
  return count + admitted_ + retired_;
}

StalledBatch Run::oldest() const {
  std::lock_guard lock(mutex_);
  const Slot* oldest = nullptr;
  for (const auto& slot : slots_) {
    if (slot->live_seq && (!oldest || *slot->live_seq < *oldest->live_seq)) oldest = slot.get();
  }
  if (!oldest) return {.stage = plan_.source_name, .seq = next_seq(), .is_in_service = true};
  const bool is_in_service = oldest->is_in_service.load();
  // Behind the sink there is nothing to wait for: it is about to retire.
  const auto stage = std::min(oldest->at_stage.load(), plan_.stages.size() - 1);
  return {.stage = plan_.stages[stage].name, .seq = *oldest->live_seq, .is_in_service = is_in_service, .age = clock_.now() - Clock::Time(oldest->there_since.load())};
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
