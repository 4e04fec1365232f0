#include "ports/fault_point.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace pipestill {
namespace {

struct Fault {
  std::string name;
  std::uint64_t passage = 1;
  int error = 0;  ///< 0: the process ends
};

constexpr std::array<std::pair<std::string_view, int>, 5> kActions{{{"kill", 0}, {"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EROFS", EROFS}, {"EDQUOT", EDQUOT}}};

[[noreturn]] void refuse_fault(const char* text) {
  std::fprintf(stderr, "pipestill: PIPESTILL_FAULT is \"%.200s\"; it must be NAME[:N][=kill|EIO|ENOSPC|EROFS|EDQUOT]\n", text);
  std::_Exit(2);
}

std::optional<Fault> fault_of_environment() {
  const char* text = std::getenv("PIPESTILL_FAULT");
  if (!text || !*text) return std::nullopt;
  std::string_view rest(text);
  Fault fault;
  if (const auto sign = rest.find('='); sign != std::string_view::npos) {
    const auto action = rest.substr(sign + 1);
    bool is_known = false;
    for (const auto& [name, error] : kActions) {
      if (name == action) fault.error = error, is_known = true;
    }
    if (!is_known) refuse_fault(text);
    rest = rest.substr(0, sign);
  }
  if (const auto colon = rest.find(':'); colon != std::string_view::npos) {
    const auto number = rest.substr(colon + 1);
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), fault.passage);
    if (error != std::errc() || end != number.data() + number.size() || fault.passage == 0) refuse_fault(text);
    rest = rest.substr(0, colon);
  }
  if (rest.empty()) refuse_fault(text);
  fault.name = rest;
  return fault;
}

struct Plan {
  std::optional<Fault> fault = fault_of_environment();
  int trace = -1;
  std::atomic<std::uint64_t> passages{0};

  Plan() {
    if (const char* file = std::getenv("PIPESTILL_FAULT_TRACE"); file && *file) trace = ::open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  }
};

std::atomic<Plan*> current_plan{nullptr};
std::mutex plan_mutex;  // held while one is made

Plan& plan_of_environment() {
  if (auto* plan = current_plan.load()) return *plan;
  const std::lock_guard lock(plan_mutex);
  if (!current_plan.load()) current_plan.store(new Plan);  // never deleted: points are passed until the process ends
  return *current_plan.load();
}

}  // namespace

int fault_point(std::string_view name) {
  auto& plan = plan_of_environment();
  if (plan.trace >= 0) trace_fact(name);
  if (!plan.fault || (plan.fault->name != name && plan.fault->name != "any")) return 0;
  const auto passage = ++plan.passages;
  if (passage < plan.fault->passage) return 0;
  if (plan.fault->error != 0) return plan.fault->error;
  if (passage == plan.fault->passage) (void)std::raise(SIGKILL);
  return 0;
}

bool plans_faults() {
  const auto& plan = plan_of_environment();
  return plan.fault || plan.trace >= 0;
}

bool traces_points() { return plan_of_environment().trace >= 0; }

void trace_fact(std::string_view fact) {
  const auto line = std::string(fact) + "\n";
  [[maybe_unused]] const auto written = ::write(plan_of_environment().trace, line.data(), line.size());
}

void forget_fault_plan() {
  static std::vector<std::unique_ptr<Plan>> forgotten;  // somebody may still look at them
  const std::lock_guard lock(plan_mutex);
  forgotten.emplace_back(current_plan.exchange(nullptr));
}

}  // namespace pipestill
