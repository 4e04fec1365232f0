#include "tests/laws/spec.hpp"

#include <algorithm>
#include <tuple>

namespace pipestill::laws {

bool is_failure(Style style) {
  switch (style) {
    case Style::completes_inside:
    case Style::completes_twice:
    case Style::completes_when_unwanted:
    case Style::hangs: return false;
    default: return true;
  }
}

const char* name_of(Style style) {
  switch (style) {
    case Style::returns_error: return "returns an error";
    case Style::throws: return "throws";
    case Style::throws_unknown: return "throws something unknown";
    case Style::completes_with_error: return "completes with an error";
    case Style::completes_with_error_inside: return "completes with an error inside the call";
    case Style::completes_with_error_twice: return "completes with an error, then with a value";
    case Style::completes_with_error_when_unwanted: return "completes with an error, whatever is stopped";
    case Style::drops_completion: return "drops its completion";
    case Style::drops_completion_later: return "drops its completion later";
    case Style::throws_after_giving_away: return "throws, and completes later";
    case Style::throws_after_completing: return "completes, and throws";
    case Style::completes_inside: return "completes inside the call";
    case Style::completes_twice: return "completes twice";
    case Style::completes_when_unwanted: return "completes, whatever is stopped";
    case Style::hangs: return "hangs until it is stopped";
  }
  return "";
}

std::string message_of(Style style, const std::string& stage, std::uint64_t at) {
  if (style == Style::throws_unknown) return "unknown type";
  if (style == Style::drops_completion || style == Style::drops_completion_later) return "dropped";
  return stage + " broke at " + std::to_string(at);
}

ErrorCode code_of(Style style) {
  switch (style) {
    case Style::throws:
    case Style::throws_unknown:
    case Style::drops_completion:
    case Style::drops_completion_later:
    case Style::throws_after_giving_away:
    case Style::throws_after_completing: return ErrorCode::internal;
    default: return ErrorCode::backend_failed;
  }
}

std::string FlowSpec::stage_name(std::size_t stage) const {
  if (stage == 0) return "source";
  return stage == sink() ? "sink" : stages[stage - 1].name;
}

std::size_t FlowSpec::trainer() const {
  const auto found = std::ranges::find(stages, StageSpec::Part::trains, &StageSpec::part);
  return static_cast<std::size_t>(found - stages.begin()) + 1;
}

bool FlowSpec::has_observer() const { return std::ranges::find(stages, StageSpec::Part::observes, &StageSpec::part) != stages.end(); }

const Fault* FlowSpec::fault(std::size_t stage, std::uint64_t at) const {
  const auto found = std::ranges::find_if(faults, [&](const Fault& f) { return f.stage == stage && f.at == at; });
  return found == faults.end() ? nullptr : &*found;
}

std::string to_text(const FlowSpec& spec) {
  const auto us = [](std::chrono::nanoseconds t) { return std::to_string(t.count() / 1000) + " us"; };
  std::string text = std::to_string(spec.batches) + " batches, depth " + std::to_string(spec.depth) + ", " +
                     (spec.executor == graph::Executor::small ? "small" : "flow graph") + " with " + std::to_string(spec.threads) + " threads" +
                     (spec.is_simulated ? ", simulated clock" : "") + (spec.is_watched ? ", watched" : "") +
                     (spec.staleness ? ", staleness " + std::to_string(*spec.staleness) : ", nothing reads the student") + "\n";
  for (const auto& stage : spec.stages) {
    text += "  " + stage.name + (stage.is_in_sequence ? ": in sequence" : ": any order") + (stage.is_async ? ", asynchronous" : ", returns") + ", at most " + std::to_string(stage.limit) + "\n";
  }
  for (const auto& fault : spec.faults) text += "  batch " + std::to_string(fault.at) + " in " + spec.stage_name(fault.stage) + ": " + name_of(fault.style) + "\n";
  if (spec.evaluate_every && spec.has_observer()) text += "  every " + std::to_string(spec.evaluate_every) + "th batch is evaluated\n";
  if (spec.sessions) text += "  " + std::to_string(spec.sessions) + " sessions\n";
  if (const auto& f = spec.session_fault) text += "  session " + std::to_string(f->session) + (f->is_at_open ? " at open: " : " at close: ") + name_of(f->style) + "\n";
  if (const auto& stop = spec.stop) {
    text += stop->kind == StopSpec::Kind::stop ? "  stop" : stop->kind == StopSpec::Kind::stop_now ? "  stop now" : "  stop, then after " + us(stop->second_delay) + " stop now";
    text += stop->at_entry ? " when batch " + std::to_string(stop->at_entry->second) + " enters " + spec.stage_name(stop->at_entry->first) : " after " + us(stop->delay);
    text += ", grace " + us(stop->grace) + "\n";
  }
  return text;
}

std::uint64_t mix(std::uint64_t a, std::uint64_t b) { return (a ^ (b + 0x9e3779b97f4a7c15u + (a << 6) + (a >> 2))) * 0xff51afd7ed558ccdu; }

Model::Model(const FlowSpec& spec) {
  states.push_back(1);
  for (std::uint64_t n = 0; n < spec.batches; ++n) {
    std::uint64_t value = n;
    for (std::size_t i = 1; i < spec.sink(); ++i) {
      switch (spec.stages[i - 1].part) {
        case StageSpec::Part::plain: value = mix(value, i); break;
        case StageSpec::Part::reads: value = mix(value, states[n > *spec.staleness ? n - *spec.staleness : 0]); break;
        case StageSpec::Part::trains: states.push_back(mix(states.back(), value)); break;
        case StageSpec::Part::observes: break;
      }
    }
    if (spec.trainer() == spec.sink()) states.push_back(mix(states.back(), value));
    sunk.push_back(value);
  }
  for (const auto& fault : spec.faults) {
    if (!is_failure(fault.style) || fault.at >= spec.batches) continue;
    if (!lowest || std::tie(fault.at, fault.stage) < std::tie(lowest->at, lowest->stage)) lowest = fault;
  }
}

}  // namespace pipestill::laws
