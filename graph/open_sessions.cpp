#include "graph/open_sessions.hpp"

#include <string>
#include <utility>

namespace pipestill::graph {
namespace {

/// Runs `f` as a stage of this name, on the trace, with its exceptions as errors.
template <class F>
std::optional<RunReport::Failure> run_as_stage(const std::string& name, Clock& clock, Trace* trace, F f) {
  StageSpan span{.stage = name, .seq = {}, .arrived = clock.now()};
  span.in_order = span.admissible = span.started = span.arrived;
  if (trace) trace->started(name, {}, span.started);
  Result<void> result;
  try {
    result = f();
  } catch (...) {
    result = fail(thrown_error());
  }
  span.ended = clock.now();
  if (result) {
    if (trace) trace->ended(span);
    return std::nullopt;
  }
  if (trace) trace->failed(span, result.error());
  return RunReport::Failure{name, std::nullopt, std::move(result.error())};
}

}  // namespace

std::optional<RunReport::Failure> OpenSessions::open(std::shared_ptr<Session> session, const std::stop_token& stop) {
  auto failure = run_as_stage(session->open_name(), clock_, trace_, [&] { return session->open(stop); });
  if (!failure) sessions_.push_back(std::move(session));
  return failure;
}

std::vector<RunReport::Failure> OpenSessions::close() {
  std::vector<RunReport::Failure> failures;
  while (!sessions_.empty()) {
    const auto session = std::move(sessions_.back());
    sessions_.pop_back();
    if (auto failure = run_as_stage(session->close_name(), clock_, trace_, [&] { return session->close(); })) failures.push_back(*std::move(failure));
  }
  return failures;
}

}  // namespace pipestill::graph
