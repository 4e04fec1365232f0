#include "bench/harness.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <thread>

#include <spdlog/fmt/fmt.h>

#include "nodes/run_summary.hpp"

namespace pipestill::bench {
namespace {

/// Seconds that all processors together have been busy since boot (proc(5), /proc/stat).
double busy_seconds() {
  std::ifstream stat("/proc/stat");
  std::string cpu;
  double user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0;
  if (!(stat >> cpu >> user >> nice >> system >> idle >> iowait >> irq >> softirq >> steal)) return 0;
  return (user + nice + system + irq + softirq + steal) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double wall_seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

Spread spread(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto n = values.size();
  return {values.front(), n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2, values.back()};
}

boost::json::object to_json(const Spread& s) { return {{"min", s.min}, {"median", s.median}, {"max", s.max}}; }

std::string to_text(const Spread& s, int digits) { return fmt::format("{:.{}f} ({:.{}f} to {:.{}f})", s.median, digits, s.min, digits, s.max, digits); }

const char* verdict(double value, double goal) { return value >= goal ? "met" : "missed"; }

Result<void> interleave(std::size_t repetitions, std::span<const Measure> cases) {
  for (std::size_t k = 0; k < repetitions; ++k) {
    for (std::size_t i = 0; i < cases.size(); ++i) {
      if (auto measured = cases[(k + i) % cases.size()](); !measured) return measured;
    }
  }
  return {};
}

Stopwatch::Stopwatch() : begun_{wall_seconds(), process_cpu_seconds()} {}

Taken Stopwatch::taken() const { return {wall_seconds() - begun_.wall_s, process_cpu_seconds() - begun_.cpu_s}; }

Taken per_call(double at_least_s, const std::function<void()>& f) {
  const Stopwatch watch;
  for (double calls = 1;; ++calls) {
    f();
    if (const auto taken = watch.taken(); taken.wall_s >= at_least_s) return {taken.wall_s / calls, taken.cpu_s / calls};
  }
}

int refuse(const Error& error) {
  std::fprintf(stderr, "pipestill-bench: %s\n", error.message.c_str());
  return error.code == ErrorCode::invalid_input ? 2 : 3;
}

ForeignLoad::ForeignLoad() : busy_s_(busy_seconds()), own_s_(process_cpu_seconds()), wall_s_(wall_seconds()) {}

double ForeignLoad::processors() const {
  const double wall = wall_seconds() - wall_s_;
  const double foreign = (busy_seconds() - busy_s_) - (process_cpu_seconds() - own_s_);
  return wall > 0 ? std::max(0.0, foreign / wall) : 0;
}

boost::json::object context(const ForeignLoad& load) {
  boost::json::object out;
  for (const auto& [key, value] : machine_identity()) out[key] = value;
  out["cores"] = std::thread::hardware_concurrency();
  out["foreign_load"] = load.processors();
  return out;
}

std::string context_line(const boost::json::object& c) {
  const auto* cpu = c.if_contains("cpu");
  return fmt::format("machine: {}, {} cores; other processes kept {:.2f} of them busy\n", cpu ? std::string(cpu->as_string()) : "unknown", c.at("cores").to_number<unsigned>(),
                     c.at("foreign_load").to_number<double>());
}

}  // namespace pipestill::bench
