#include "ports/simulated/usage_meter.hpp"

namespace pipestill {

void UsageMeter::begin_service(Clock::Time now) {
  std::lock_guard lock(mutex_);
  if (in_service_++ == 0) busy_since_ = now;
}

void UsageMeter::end_service(Clock::Time now) {
  std::lock_guard lock(mutex_);
  if (--in_service_ == 0) usage_.compute += now - busy_since_;
}

void UsageMeter::add_tokens(std::uint64_t tokens) {
  std::lock_guard lock(mutex_);
  usage_.tokens += tokens;
}

ModelUsage UsageMeter::read(Clock::Time now) const {
  std::lock_guard lock(mutex_);
  ModelUsage usage = usage_;
  if (in_service_ > 0) usage.compute += now - busy_since_;
  return usage;
}

}  // namespace pipestill
