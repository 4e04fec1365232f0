#include "graph/engine.hpp"

#include <mutex>
#include <thread>
#include <utility>

#include "graph/detail/run.hpp"
#include "graph/open_sessions.hpp"

namespace pipestill::graph {
namespace {

RunReport refused(std::string message) {
  RunReport report;
  report.status = RunReport::Status::failed;
  report.failure = RunReport::Failure{"engine", std::nullopt, {ErrorCode::invalid_input, std::move(message)}};
  return report;
}

/// What a stop request reaches: the run while it lives, and nothing afterwards.
class StopSwitch {
 public:
  StopSwitch(detail::Run& run, std::function<void()> on_cut) : run_(&run), on_cut_(std::move(on_cut)) {}
  void cut_now() {
    std::lock_guard lock(mutex_);
    if (!run_) return;
    run_->cut_now();
    if (on_cut_) on_cut_();
  }
  void disarm() {
    std::lock_guard lock(mutex_);
    run_ = nullptr;
  }

 private:
  std::recursive_mutex mutex_;  // guards run_, and keeps the run alive while it is cut; what a cut calls may ask for a cut itself
  detail::Run* run_;
  const std::function<void()> on_cut_;
};

RunReport run_flow(detail::Plan plan, const EngineOptions& options, Clock& clock) {
  detail::Run run(std::move(plan), options, clock);
  const auto stop_switch = std::make_shared<StopSwitch>(run, options.on_cut);  // shared with a timer that may outlive this call
  {
    const std::stop_callback on_stop(options.stop, [&clock, stop_switch, grace = options.stop_grace] {
      clock.call_at(clock.now() + grace, [stop_switch] { stop_switch->cut_now(); });
    });
    const std::stop_callback on_stop_now(options.stop_now, [stop_switch] { stop_switch->cut_now(); });
    if (options.executor == Executor::small) {
      detail::run_small(run, options.threads, clock);
    } else {
#ifdef PIPESTILL_WITH_TBB
      detail::run_on_flow_graph(run, options.threads);
#endif
    }
  }
  stop_switch->disarm();
  return run.report();
}

}  // namespace

RunReport run(ClosedFlow flow, const EngineOptions& given) {
  EngineOptions options = given;
  const auto clock = options.clock ? options.clock : std::make_shared<SystemClock>();
  const bool is_simulated = dynamic_cast<SimulatedClock*>(clock.get()) != nullptr;
  if (options.executor == Executor::small && options.threads == 0) options.threads = is_simulated ? 1 : std::max(1u, std::thread::hardware_concurrency());
  if (options.depth == 0) return refused("engine.depth is 0: at least 1 batch must be in flight");
  if (is_simulated && (options.executor != Executor::small || options.threads != 1)) return refused("a simulated clock needs the small executor with one thread");
#ifndef PIPESTILL_WITH_TBB
  if (options.executor == Executor::flow_graph) return refused("built without PIPESTILL_WITH_TBB: only the small executor is here");
#endif
  auto plan = std::move(flow).plan();
  for (const auto& stage : plan.stages) {
    if (stage.limit == 0) return refused("stage " + stage.name + " has limit 0: at least 1 batch must find a place");
    if ((stage.publishes || stage.commits) && stage.limit != 1) {
      return refused("stage " + stage.name + " has limit " + std::to_string(stage.limit) + ": one that commits or publishes takes 1 batch at a time, or its order would depend on timing");
    }
  }

  OpenSessions sessions(*clock, options.trace);
  RunReport report;
  std::optional<RunReport::Failure> failure;
  for (auto& session : std::exchange(plan.sessions, {})) {
    if (!failure) failure = sessions.open(std::move(session), options.stop);
  }
  if (failure) {
    const bool was_stopped = failure->error.code == ErrorCode::cancelled && options.stop.stop_requested();
    report.status = was_stopped ? RunReport::Status::stopped : RunReport::Status::failed;
    if (!was_stopped) report.failure = std::move(failure);
  } else {
    report = run_flow(std::move(plan), options, *clock);
  }
  report.close_failures = sessions.close();
  if (!report.close_failures.empty() && !report.failure) {
    report.status = RunReport::Status::failed;
    report.failure = report.close_failures.front();
  }
  return report;
}

std::string ClosedFlow::to_text() const {
  std::string text;
  const auto line = [&text](const std::string& name, const std::string& kind, const std::string& summary) {
    auto added = name + std::string(name.size() < 20 ? 20 - name.size() : 1, ' ') + kind + std::string(kind.size() < 52 ? 52 - kind.size() : 1, ' ') + summary;
    added.erase(added.find_last_not_of(' ') + 1);
    text += added + "\n";
  };
  for (const auto& session : plan_.sessions) line(session->open_name(), "session, before the source", "");
  line(plan_.source_name, "source, takes a credit", plan_.source_description.summary);
  for (std::size_t i = 0; i < plan_.stages.size(); ++i) {
    const auto& stage = plan_.stages[i];
    std::string kind = stage.is_in_sequence ? "in sequence" : "any order";
    kind += stage.start ? ", asynchronous" : ", returns";
    kind += ", at most " + std::to_string(stage.limit);
    if (stage.reads) kind += ", takes a version";
    if (stage.publishes) kind += ", issues a version";
    if (i + 1 == plan_.stages.size()) kind = "sink, in sequence, returns the credit";
    line(stage.name, kind, stage.description.summary);
  }
  for (auto session = plan_.sessions.rbegin(); session != plan_.sessions.rend(); ++session) line((*session)->close_name(), "session, after the drain", "");
  return text;
}

}  // namespace pipestill::graph
