#include "app/progress.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include <spdlog/fmt/fmt.h>

namespace pipestill::app {
namespace {

std::size_t terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

}  // namespace

Progress::Progress(std::shared_ptr<const graph::Monitor> monitor, bool is_wanted)
    : monitor_(std::move(monitor)), is_live_(is_wanted && isatty(STDERR_FILENO) == 1) {
  if (is_live_) thread_ = std::jthread([this](const std::stop_token& stop) { draw_until_stopped(stop); });
}

Progress::~Progress() {
  if (!is_live_) return;
  thread_.request_stop();
  thread_.join();
  std::fputs("\r\033[K", stderr);
}

void Progress::set_total(std::uint64_t steps) {
  std::lock_guard lock(mutex_);
  total_steps_ = steps;
}

void Progress::on_step(const StepResult& step) {
  std::lock_guard lock(mutex_);
  if (!began_) began_ = std::chrono::steady_clock::now();
  ++steps_;
  tokens_ += step.num_tokens;
  if (step.distill_loss) loss_ = step.distill_loss;
}

void Progress::on_evaluation(const EvaluationRecord& record) {
  std::lock_guard lock(mutex_);
  const auto found = record.result.metrics.find("exact_match");
  if (found != record.result.metrics.end()) exact_match_ = found->second;
}

void Progress::say(const std::string& text) {
  std::lock_guard lock(mutex_);
  std::fprintf(stderr, "%s%s\n", is_live_ ? "\r\033[K" : "", text.c_str());
}

void Progress::draw_until_stopped(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    draw();
    changed_.wait_for(lock, stop, std::chrono::milliseconds(200), [] { return false; });
  }
}

void Progress::draw() {
  std::string line = fmt::format("step {}/{}", steps_, total_steps_);
  if (loss_) line += fmt::format("  loss {:.4f}", *loss_);
  if (exact_match_) line += fmt::format("  exact match {:.1f} %", 100 * *exact_match_);
  if (began_ && steps_ > 1) {
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - *began_).count();
    line += fmt::format("  {:.0f} tok/s", static_cast<double>(tokens_) / seconds);
    const auto left = static_cast<long>(seconds / static_cast<double>(steps_) * static_cast<double>(total_steps_ - steps_));
    line += fmt::format("  ETA {}:{:02}", left / 60, left % 60);
  }
  std::string in_flight;
  for (const auto& stage : monitor_->read()) {
    if (stage.in_service + stage.waiting > 0) in_flight += fmt::format(" {} {}", stage.name, stage.in_service + stage.waiting);
  }
  if (!in_flight.empty()) line += "  in flight:" + in_flight;
  const auto width = terminal_width() - 1;
  if (line.size() > width) line.resize(width);
  std::fprintf(stderr, "\r\033[K%s", line.c_str());
  std::fflush(stderr);
}

}  // namespace pipestill::app
