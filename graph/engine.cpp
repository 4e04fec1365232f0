#include "graph/engine.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
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

/// The run as stop requests and timers reach it: while it lives, and nothing afterwards.
class LiveRun {
 public:
  explicit LiveRun(detail::Run& run) : run_(&run) {}
  template <class F>
  void with(F f) {
    std::lock_guard lock(mutex_);
    if (run_) f(*run_);
  }
  void end() {
    std::lock_guard lock(mutex_);
    run_ = nullptr;
  }

 private:
  std::recursive_mutex mutex_;  // guards run_, and keeps the run alive meanwhile; what a cut calls may ask for a cut itself
  detail::Run* run_;
};

/// Looks now and then whether anything has moved, on the clock's thread.
class Watchdog : public std::enable_shared_from_this<Watchdog> {
 public:
  Watchdog(std::shared_ptr<LiveRun> run, const EngineOptions& options, Clock& clock)
      : run_(std::move(run)),
        clock_(clock),
        on_stall_(options.on_stall),
        report_after_(options.stall_report),
        timeout_(options.stall_timeout),
        moved_at_(clock.now()),
        next_report_(options.stall_report) {}

  void arm() {
    auto shortest = on_stall_ ? report_after_ : timeout_;
    if (timeout_.count() > 0) shortest = std::min(shortest, timeout_);
    const auto interval = std::max<std::chrono::nanoseconds>(shortest / 4, std::chrono::milliseconds(1));
    clock_.call_at(clock_.now() + interval, [self = shared_from_this()] { self->run_->with([&](detail::Run& run) { self->look(run); }); });
  }

 private:
  void look(detail::Run& run) {
    const auto now = clock_.now();
    if (const auto movements = run.movements(); movements != movements_) {
      movements_ = movements;
      moved_at_ = now;
      next_report_ = report_after_;
    }
    const Stall stall{run.oldest(), now - moved_at_};
    if (on_stall_ && stall.duration >= next_report_) {
      next_report_ *= 2;
      on_stall_(stall);
    }
    if (timeout_.count() > 0 && stall.duration >= timeout_) {
      run.fail_stalled(stall.oldest, {ErrorCode::backend_failed, to_text(stall) + ", which is longer than engine.stall_timeout allows"});
    }
    arm();
  }

  const std::shared_ptr<LiveRun> run_;
  Clock& clock_;  // whose timer holds this: a hold on the clock would keep both for ever
  const std::function<void(const Stall&)> on_stall_;
  const std::chrono::nanoseconds report_after_, timeout_;
  std::uint64_t movements_ = 0;
  Clock::Time moved_at_;
  std::chrono::nanoseconds next_report_;
};

RunReport run_flow(detail::Plan plan, const EngineOptions& options, Clock& clock) {
  detail::Run run(std::move(plan), options, clock);
  const auto live = std::make_shared<LiveRun>(run);  // shared with timers that may outlive this call
  {
    const auto cut_now = [live, on_cut = options.on_cut] {
      live->with([&](detail::Run& r) {
        r.cut_now();
        if (on_cut) on_cut();
      });
    };
    const std::stop_callback on_stop(options.stop, [&clock, cut_now, grace = options.stop_grace] { clock.call_at(clock.now() + grace, cut_now); });
    const std::stop_callback on_stop_now(options.stop_now, cut_now);
    if (options.on_stall || options.stall_timeout.count() > 0) std::make_shared<Watchdog>(live, options, clock)->arm();
    if (options.executor == Executor::small) {
      detail::run_small(run, options.threads, clock);
    } else {
#ifdef PIPESTILL_WITH_TBB
      detail::run_on_flow_graph(run, options.threads);
#endif
    }
  }
  live->end();
  return run.report();
}

double seconds(std::chrono::nanoseconds time) { return static_cast<double>(time.count()) / 1e9; }

/// `text` between double quotes, as DOT reads it.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string kind_of(const detail::StagePlan& stage, bool is_sink) {
  if (is_sink) return "sink, in sequence, returns the credit";
  std::string kind = stage.is_in_sequence ? "in sequence" : "any order";
  kind += stage.start ? ", asynchronous" : ", returns";
  kind += ", at most " + std::to_string(stage.limit);
  if (stage.reads) kind += ", takes a version";
  if (stage.publishes) kind += ", issues a version";
  return kind;
}

}  // namespace

std::string to_text(const Stall& stall) {
  const auto& batch = stall.oldest;
  return fmt::format("nothing has moved for {:.1f} s: batch {} {} {} for {:.1f} s", seconds(stall.duration), batch.seq.value, batch.is_in_service ? "has been in" : "has waited before", batch.stage,
                     seconds(batch.age));
}

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

  if (plan.feedback && plan.feedback->initial.size() != plan.feedback->staleness.value + 1) {
    return refused("the feedback has " + std::to_string(plan.feedback->initial.size()) + " initial values: at staleness " + std::to_string(plan.feedback->staleness.value) +
                   " the first " + std::to_string(plan.feedback->staleness.value + 1) + " batches read one each");
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
    line(stage.name, kind_of(stage, i + 1 == plan_.stages.size()), stage.description.summary);
  }
  for (auto session = plan_.sessions.rbegin(); session != plan_.sessions.rend(); ++session) line((*session)->close_name(), "session, after the drain", "");
  return text;
}

std::string ClosedFlow::to_dot() const {
  std::string text = "digraph flow {\n  rankdir=LR;\n  node [shape=box];\n";
  const auto node = [&text](const std::string& id, const std::string& label, const char* more = "") {
    text += "  " + id + " [label=" + quoted(label) + more + "];\n";
  };
  const auto edge = [&text](const std::string& from, const std::string& to, const char* more = "") { text += "  " + from + " -> " + to + more + ";\n"; };
  const auto label = [](const std::string& name, const std::string& kind, const std::string& summary) {
    return name + "\n" + kind + (summary.empty() ? "" : "\n" + summary);
  };
  for (std::size_t i = 0; i < plan_.sessions.size(); ++i) {
    const auto number = std::to_string(i);
    node("open" + number, plan_.sessions[i]->open_name() + "\nbefore the source", ", style=rounded");
    node("close" + number, plan_.sessions[i]->close_name() + "\nafter the drain", ", style=rounded");
    edge("open" + number, "source", " [style=dotted]");
    edge("stage" + std::to_string(plan_.stages.size() - 1), "close" + number, " [style=dotted]");
  }
  node("source", label(plan_.source_name, "source, takes a credit", plan_.source_description.summary));
  std::string last = "source", reader;
  for (std::size_t i = 0; i < plan_.stages.size(); ++i) {
    const auto& stage = plan_.stages[i];
    const auto id = "stage" + std::to_string(i);
    node(id, label(stage.name, kind_of(stage, i + 1 == plan_.stages.size()), stage.description.summary));
    edge(last, id);
    if (stage.reads) reader = id;
    if (stage.publishes) {
      const auto versions = "versions, " + std::to_string(plan_.feedback->staleness.value + 1) + " at the start";
      edge(id, reader, (" [style=dashed, constraint=false, label=" + quoted(versions) + "]").c_str());
    }
    last = id;
  }
  edge(last, "source", " [style=dashed, constraint=false, label=\"credits\"]");
  return text + "}\n";
}

}  // namespace pipestill::graph
