#include "ports/telemetry/spdlog_telemetry.hpp"

#include <spdlog/logger.h>

#include <boost/json/serialize.hpp>
#include <iterator>
#include <string>
#include <utility>

namespace pipestill {
namespace {

enum class Shown { all, numbers };

/// " key=value key=value", numbers with six digits: for eyes, not for programs.
std::string pairs(const boost::json::object& fields, Shown shown) {
  std::string text;
  for (const auto& [key, value] : fields) {
    const std::string_view name(key.data(), key.size());
    if (shown == Shown::numbers && !value.is_number()) continue;
    if (value.is_double()) {
      fmt::format_to(std::back_inserter(text), " {}={:.6g}", name, value.get_double());
    } else {
      fmt::format_to(std::back_inserter(text), " {}={}", name, boost::json::serialize(value));
    }
  }
  return text;
}

}  // namespace

SpdlogTelemetry::SpdlogTelemetry(std::shared_ptr<spdlog::logger> logger, std::uint64_t log_every)
    : logger_(std::move(logger)), log_every_(log_every) {}

void SpdlogTelemetry::event(std::string_view name, const boost::json::object& fields) {
  if (logger_->should_log(spdlog::level::debug)) logger_->debug("{}{}", name, pairs(fields, Shown::all));
}

void SpdlogTelemetry::metrics(std::uint64_t step, const boost::json::object& values) {
  if (log_every_ == 0 || step % log_every_ != 0 || !logger_->should_log(spdlog::level::info)) return;
  logger_->info("step {}{}", step, pairs(values, Shown::numbers));
}

bool SpdlogTelemetry::wants_stage_events() const { return logger_->should_log(spdlog::level::debug); }

}  // namespace pipestill
