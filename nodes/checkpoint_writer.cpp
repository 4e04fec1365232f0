#include "nodes/checkpoint_writer.hpp"

#include <utility>
#include <variant>

#include "nodes/guarded.hpp"

namespace pipestill {
namespace {

Error no_longer_wanted() { return {ErrorCode::cancelled, "the checkpoint is no longer wanted"}; }

}  // namespace

CheckpointWriter::CheckpointWriter(CheckpointWriterOptions options) : options_(std::move(options)), thread_([this] { work(); }) {}

CheckpointWriter::~CheckpointWriter() { (void)finish(); }

void CheckpointWriter::save(std::uint64_t step, std::shared_ptr<const CapturedStudent> student, std::stop_token stop, Completion<std::monostate> taken) {
  Offer offer{step, std::move(student), std::move(stop), std::move(taken)};
  offer.on_stop = std::make_unique<std::stop_callback<std::function<void()>>>(offer.stop, [this] {
    { std::lock_guard lock(mutex_); }  // a thread that is about to wait has looked at the token before, or looks again
    changed_.notify_all();
  });
  bool has_to_wait = false;
  {
    std::lock_guard lock(mutex_);
    offer_.emplace(std::move(offer));
    has_to_wait = is_writing_;
  }
  changed_.notify_all();
  if (has_to_wait && options_.telemetry) options_.telemetry->event("pipestill.distillation.checkpoint_wait", {{"step", step}});
}

void CheckpointWriter::recorded(std::uint64_t steps, std::string ledger_digest) {
  {
    std::lock_guard lock(mutex_);
    if (steps != awaited_) return;
    digest_ = std::move(ledger_digest);
  }
  changed_.notify_all();
}

bool CheckpointWriter::has_taken(std::uint64_t step) const {
  std::lock_guard lock(mutex_);
  return awaited_ == step;
}

Result<void> CheckpointWriter::health() const {
  std::lock_guard lock(mutex_);
  if (error_) return fail(*error_);
  return {};
}

Result<void> CheckpointWriter::finish() {
  {
    std::lock_guard lock(mutex_);
    is_finishing_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  return health();
}

void CheckpointWriter::work() {
  for (;;) {
    std::optional<Offer> offer;
    std::optional<Error> error;
    {
      std::unique_lock lock(mutex_);
      is_writing_ = false;
      changed_.wait(lock, [&] { return offer_ || is_finishing_; });
      if (!offer_) return;
      offer = std::exchange(offer_, std::nullopt);
      error = offer->stop.stop_requested() ? no_longer_wanted() : error_;
      if (!error) {
        is_writing_ = true;
        awaited_ = offer->step;
        digest_.reset();
      }
    }
    offer->on_stop.reset();
    if (error) {
      offer->taken(fail(*std::move(error)));
      continue;
    }
    offer->taken(std::monostate());
    auto digest = await_digest(offer->step);
    if (!digest) continue;
    auto written = guarded("saving a checkpoint", [&] { return write(*offer, *std::move(digest)); });
    if (written) continue;
    std::lock_guard lock(mutex_);
    error_ = std::move(written.error());
  }
}

std::optional<std::string> CheckpointWriter::await_digest(std::uint64_t step) {
  for (;;) {
    std::optional<Offer> unwanted;
    {
      std::unique_lock lock(mutex_);
      const auto is_unwanted = [&] { return offer_ && offer_->stop.stop_requested(); };
      // One that is offered for an earlier step says that the run was cut between: this one's batches will not be recorded.
      changed_.wait(lock, [&] { return digest_ || is_finishing_ || is_unwanted() || (offer_ && offer_->step < step); });
      if (!is_unwanted()) return std::exchange(digest_, std::nullopt);
      unwanted = std::exchange(offer_, std::nullopt);
    }
    // Its batch is behind a cut, which may be before `step` too: nobody would record that, or offer another one, until this one's call has ended.
    unwanted->on_stop.reset();
    unwanted->taken(fail(no_longer_wanted()));
  }
}

Result<void> CheckpointWriter::write(const Offer& offer, std::string ledger_digest) {
  const auto began = options_.clock ? options_.clock->now() : Clock::Time{};
  StudentCheckpoint checkpoint{.facts = {.step = offer.step, .ledger_digest = std::move(ledger_digest), .identity = options_.identity}, .student = offer.student->state, .versions = offer.student->versions};
  if (options_.sync_ledger) {
    if (auto synced = options_.sync_ledger(); !synced) return synced;
  }
  if (auto saved = options_.store.save(checkpoint); !saved) return saved;
  if (options_.telemetry && options_.clock) {
    options_.telemetry->event("pipestill.distillation.checkpoint",
                              {{"step", offer.step}, {"path", options_.store.path_of(offer.step).string()}, {"duration_ms", static_cast<double>((options_.clock->now() - began).count()) / 1e6}});
  }
  return {};
}

}  // namespace pipestill
