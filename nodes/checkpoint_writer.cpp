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

void CheckpointWriter::recorded(std::uint64_t steps) {
  {
    std::lock_guard lock(mutex_);
    recorded_ = steps;
  }
  changed_.notify_all();
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
      error = error_;
    }
    if (error) {
      offer->taken(fail(*std::move(error)));
      continue;
    }
    offer->taken(std::monostate());
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return recorded_ >= offer->step || is_finishing_; });
      if (recorded_ < offer->step) continue;
    }
    auto written = guarded("saving a checkpoint", [&] { return write(*offer); });
    if (written) continue;
    std::lock_guard lock(mutex_);
    error_ = std::move(written.error());
  }
}

Result<void> CheckpointWriter::write(const Offer& offer) {
  const auto began = options_.clock ? options_.clock->now() : Clock::Time{};
  StudentCheckpoint checkpoint{.facts = {.step = offer.step, .identity = options_.identity}, .student = offer.student->state, .versions = offer.student->versions};
  if (options_.seal_ledger) {
    auto digest = options_.seal_ledger(offer.step);
    if (!digest) return fail(std::move(digest.error()));
    checkpoint.facts.ledger_digest = *std::move(digest);
  }
  if (auto saved = options_.store.save(checkpoint); !saved) return saved;
  if (options_.telemetry && options_.clock) {
    options_.telemetry->event("pipestill.distillation.checkpoint",
                              {{"step", offer.step}, {"path", options_.store.path_of(offer.step).string()}, {"duration_ms", static_cast<double>((options_.clock->now() - began).count()) / 1e6}});
  }
  return {};
}

}  // namespace pipestill
