#pragma once
// The rig: runs a flow that was given as data, and holds what came out against the laws.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "graph/engine.hpp"
#include "tests/laws/answers.hpp"
#include "tests/laws/spec.hpp"

namespace pipestill::laws {

struct Outcome {
  graph::RunReport report;
  std::uint64_t final_state = 0;     // of the student
  int peak_snapshots = 0;            // beside those that are evaluated
  std::vector<std::string> broken;   // one sentence a broken law; empty: none
};

/// Runs `spec` on `clock`, its asynchronous calls answered by `answers`, which may outlive it.
/// `on_back` is called as soon as run() has returned.
Outcome run_lawfully(const FlowSpec& spec, Answers& answers, std::shared_ptr<Clock> clock, const std::function<void()>& on_back = {});

/// The broken laws, one a line.
[[nodiscard]] std::string to_text(const std::vector<std::string>& broken);

}  // namespace pipestill::laws
