#include "nodes/checkpoint_writer.hpp"

#include <utility>
#include <variant>

#include "nodes/guarded.hpp"

namespace pipestill {

CheckpointWriter::CheckpointWriter(CheckpointWriterOptions options) : options_(std::move(options)), thread_([this] { work(); }) {}

CheckpointWriter::~CheckpointWriter() { (void)finish(); }

void CheckpointWriter::save(std::uint64_t step, std::shared_ptr<const CapturedStudent> student, Completion<std::monostate> taken) {
  bool has_to_wait = false;
  {
    std::lock_guard lock(mutex_);
    offer_.emplace(Offer{step, std::move(student), std::move(taken)});
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
      is_writing_ = true;
      awaited_ = offer->step;
      digest_.reset();
      error = error_;
    }
    if (error) {
      offer->taken(fail(*std::move(error)));
      continue;
    }
    offer->taken(std::monostate());
    std::string digest;
    {
      std::unique_lock lock(mutex_);
      // One that is offered for an earlier step says that the run was cut between: this one's batches will not be recorded.
      changed_.wait(lock, [&] { return digest_ || is_finishing_ || (offer_ && offer_->step < offer->step); });
      if (!digest_) continue;
      digest = *std::move(digest_);
    }
    auto written = guarded("saving a checkpoint", [&] { return write(*offer, std::move(digest)); });
    if (written) continue;
    std::lock_guard lock(mutex_);
    error_ = std::move(written.error());
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
