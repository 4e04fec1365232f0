#include "tests/laws/rig.hpp"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <stdexcept>
#include <utility>

#include "tests/laws/watchdog.hpp"
#include "tests/support/snapshot_counter.hpp"

namespace pipestill::laws {
namespace {

using namespace pipestill::graph;
using Part = StageSpec::Part;

struct Student {
  std::uint64_t state = 1;
};

struct Message {
  std::uint64_t n = 0, value = 0;
  std::shared_ptr<const void> evaluation = nullptr;  // holds the snapshot that is to be evaluated
};

/// Every start has its end, and a span's times are in order.
class PairedTrace final : public Trace {
 public:
  explicit PairedTrace(std::function<void(std::string)> broken) : broken_(std::move(broken)) {}
  void started(std::string_view stage, Seq seq, Clock::Time) noexcept override {
    std::lock_guard lock(mutex_);
    if (!open_.emplace(std::string(stage), seq.value).second) broken_("trace: " + std::string(stage) + " started twice with " + std::to_string(seq.value));
  }
  void ended(const StageSpan& span) noexcept override { close(span); }
  void failed(const StageSpan& span, const Error&) noexcept override { close(span); }
  void check() {
    std::lock_guard lock(mutex_);
    for (const auto& [stage, seq] : open_) broken_("trace: " + stage + " never ended " + std::to_string(seq));
  }

 private:
  void close(const StageSpan& span) {
    std::lock_guard lock(mutex_);
    if (open_.erase({std::string(span.stage), span.seq.value}) == 0) broken_("trace: " + std::string(span.stage) + " ended what it had not started");
    if (!(span.arrived <= span.in_order && span.in_order <= span.admissible && span.admissible <= span.started && span.started <= span.ended)) {
      broken_("trace: the times of " + std::string(span.stage) + " " + std::to_string(span.seq.value) + " are out of order");
    }
  }
  const std::function<void(std::string)> broken_;
  std::mutex mutex_;  // guards open_
  std::set<std::pair<std::string, std::uint64_t>> open_;
};

/// One asynchronous call: its answer, or the stop request, whichever comes first.
struct Call {
  std::function<void(bool is_stopped)> finish;
  std::atomic<bool> is_over{false};
  std::optional<std::stop_callback<std::function<void()>>> on_stop;

  void end(bool is_stopped) {
    if (is_over.exchange(true)) return;
    const auto f = std::exchange(finish, nullptr);
    f(is_stopped);
  }
};

class Rig {
 public:
  Rig(const FlowSpec& spec, Answers& answers, std::shared_ptr<Clock> clock)
      : spec_(spec), model_(spec), answers_(answers), clock_(std::move(clock)), stages_(spec.stages.size() + 2), trace_([this](std::string what) { broken(std::move(what)); }) {}

  Outcome run(const std::function<void()>& on_back) {
    EngineOptions options{.depth = spec_.depth, .threads = spec_.threads, .executor = spec_.executor, .stop = stop_.get_token(), .stop_now = stop_now_.get_token(), .clock = clock_};
    if (spec_.is_watched) {
      options.trace = &trace_;
      options.monitor = monitor_ = std::make_shared<Monitor>();
    }
    if (spec_.stop) {
      options.stop_grace = spec_.stop->grace;
      if (!spec_.stop->at_entry) clock_->call_at(clock_->now() + spec_.stop->delay, [stop = stopper()] { stop(); });
    }
    Outcome outcome;
    outcome.report = graph::run(flow(), options);
    if (on_back) on_back();
    check(outcome.report);
    outcome.final_state = state_;
    outcome.peak_snapshots = snapshots_.peak();
    std::lock_guard lock(mutex_);
    outcome.broken = broken_;
    return outcome;
  }

 private:
  struct StageState {
    std::mutex mutex;  // guards the two below
    std::vector<std::uint64_t> begun;
    std::size_t in_service = 0;
    std::atomic<bool> is_beginning{false};
  };
  /// While a call of a stage in sequence has not returned.
  class Beginning {
   public:
    Beginning(Rig& rig, std::size_t stage) : is_beginning_(rig.stages_[stage].is_beginning), is_checked_(rig.is_in_sequence(stage)) {
      if (is_checked_ && is_beginning_.exchange(true)) rig.broken(rig.spec_.stage_name(stage) + " was called by two threads at once");
    }
    ~Beginning() {
      if (is_checked_) is_beginning_ = false;
    }
    Beginning(const Beginning&) = delete;
    Beginning& operator=(const Beginning&) = delete;

   private:
    std::atomic<bool>& is_beginning_;
    const bool is_checked_;
  };

  struct CallStage {
    Rig* rig;
    std::size_t stage;
    Result<Message> operator()(Message m, Context& context) const { return rig->call(stage, std::move(m), context); }
  };
  struct StartStage {
    using Output = Message;
    Rig* rig;
    std::size_t stage;
    void operator()(Message m, Context& context, Completion<Message> done) const { rig->start(stage, std::move(m), context, std::move(done)); }
  };
  struct DrawnSession final : Session {
    DrawnSession(Rig& r, std::size_t k) : rig(r), number(k) {}
    Result<void> open(std::stop_token) override { return step("open ", true); }
    Result<void> close() override { return step("close ", false); }
    std::string open_name() const override { return "open_" + std::to_string(number); }
    std::string close_name() const override { return "close_" + std::to_string(number); }
    Result<void> step(const char* what, bool is_open) {
      rig.session_log_.push_back(what + std::to_string(number));
      if (rig.in_service() != 0) rig.broken(std::string(what) + std::to_string(number) + " while calls are outstanding");
      const auto& fault = rig.spec_.session_fault;
      if (!fault || fault->session != number || fault->is_at_open != is_open) return {};
      return rig.break_now(fault->style, "session", number);
    }
    Rig& rig;
    const std::size_t number;
  };

  bool is_in_sequence(std::size_t stage) const { return stage == 0 || stage == spec_.sink() || spec_.stages[stage - 1].is_in_sequence; }

  void broken(std::string what) {
    std::lock_guard lock(mutex_);
    if (broken_.size() < 20) broken_.push_back(std::move(what));
  }

  // The flow.

  template <class Flow, class Order, class... Tag>
  auto add_ordered(Flow flow, std::size_t i, Order order, const Tag&... tag) {
    const auto& stage = spec_.stages[i - 1];
    return stage.is_async ? std::move(flow).then(stage.name, order, StartStage{this, i}, tag...) : std::move(flow).then(stage.name, order, CallStage{this, i}, tag...);
  }
  template <class Flow, class... Tag>
  auto add(Flow flow, std::size_t i, const Tag&... tag) {
    const auto limit = spec_.stages[i - 1].limit;
    return spec_.stages[i - 1].is_in_sequence ? add_ordered(std::move(flow), i, in_sequence(limit), tag...) : add_ordered(std::move(flow), i, any_order(limit), tag...);
  }
  template <class Flow>
  Flow add_untagged(Flow flow, std::size_t& i) {
    for (; i < spec_.sink() && (spec_.stages[i - 1].part == Part::plain || spec_.stages[i - 1].part == Part::observes); ++i) flow = add(std::move(flow), i);
    return flow;
  }

  ClosedFlow flow() {
    auto closed = close_flow();
    for (std::size_t k = 0; k < spec_.sessions; ++k) closed = std::move(closed).with(std::make_shared<DrawnSession>(*this, k));
    return closed;
  }
  ClosedFlow close_flow() {
    const auto sink = [this](Message m, Context& context) { return end(std::move(m), context); };
    std::size_t i = 1;
    auto begun = add_untagged(from("source", [this](Context& context) { return next(context); }), i);
    if (spec_.staleness) {
      const Feedback<Student> student(snapshots_.make(Student{}), Staleness{*spec_.staleness});
      student_.emplace(student);
      auto read = add(std::move(begun), i, reads(student));
      auto sampled = add_untagged(std::move(read), ++i);
      auto trained = add_ordered(std::move(sampled), i, in_sequence(), publishes(student));
      return add_untagged(std::move(trained), ++i).into("sink", sink);
    }
    if (i == spec_.sink()) return std::move(begun).into("sink", sink);
    auto trained = add_ordered(std::move(begun), i, in_sequence(), commits);
    return add_untagged(std::move(trained), ++i).into("sink", sink);
  }

  // What the stages do.

  [[noreturn]] static void throw_now(Style style, const std::string& stage, std::uint64_t n) {
    if (style == Style::throws_unknown) throw 42;
    throw std::runtime_error(message_of(style, stage, n));
  }
  [[nodiscard]] static tl::unexpected<Error> break_now(Style style, const std::string& stage, std::uint64_t n) {
    if (code_of(style) == ErrorCode::internal) throw_now(style, stage, n);
    return fail(ErrorCode::backend_failed, message_of(style, stage, n));
  }
  [[nodiscard]] tl::unexpected<Error> broken_at(std::size_t stage, std::uint64_t n) const {
    return fail(ErrorCode::backend_failed, message_of(Style::returns_error, spec_.stage_name(stage), n));
  }

  Result<std::optional<Message>> next(Context& context) {
    const Beginning beginning(*this, 0);
    const auto n = context.seq.value;
    enter(0, n);
    leave(0);
    if (has_ended_) broken("the source was called after its end");
    if (n == spec_.batches) {
      has_ended_ = true;
      return std::nullopt;
    }
    if (const auto* fault = spec_.fault(0, n)) {
      has_ended_ = true;
      return break_now(fault->style, "source", n);
    }
    const auto now = ++in_flight_;
    if (now > spec_.depth) broken(std::to_string(now) + " batches are in flight");
    return Message{n, n};
  }

  Result<void> end(Message m, Context& context) {
    const auto stage = spec_.sink();
    const Beginning beginning(*this, stage);
    enter(stage, context.seq.value);
    leave(stage);
    if (m.n != context.seq.value) broken("the sink met the message of another batch");
    if (const auto* fault = spec_.fault(stage, m.n)) return break_now(fault->style, "sink", m.n);
    if (spec_.trainer() == stage) train(m, context);
    sunk_.push_back(m.value);
    --in_flight_;
    return {};
  }

  Result<Message> call(std::size_t stage, Message m, Context& context) {
    const Beginning beginning(*this, stage);
    const Entered entered(*this, stage, m, context);
    if (const auto* fault = spec_.fault(stage, m.n)) return break_now(fault->style, spec_.stage_name(stage), m.n);
    work(stage, m, context);
    return m;
  }

  void start(std::size_t stage, Message m, Context& context, Completion<Message> done) {
    const Beginning beginning(*this, stage);
    Entered entered(*this, stage, m, context);
    const auto n = m.n;
    const auto* fault = spec_.fault(stage, n);
    if (fault && fault->style == Style::drops_completion_later) {
      entered.goes_on();
      return answers_.later(stage, n, [this, stage, done = std::move(done)] { leave(stage); });  // and then it dies, with the completion
    }
    // The answer itself, on whatever thread: the context is touched before the completion, and nothing of the run after it.
    auto answer = [this, stage, &context, done, style = fault ? std::optional(fault->style) : std::nullopt, m = std::move(m)](bool is_stopped) mutable {
      if (is_stopped) {
        m = {};
        leave(stage);
        return done(fail(ErrorCode::cancelled, "stopped"));
      }
      if (style && is_failure(*style)) {
        m = {};
        auto error = broken_at(stage, context.seq.value);
        leave(stage);
        done(std::move(error));
        if (style == Style::completes_with_error_twice) done(Message{});
        return;
      }
      work(stage, m, context);
      leave(stage);
      done(std::move(m));
      if (style == Style::completes_twice) done(fail(ErrorCode::internal, "called twice"));
    };
    if (fault) {
      switch (fault->style) {
        case Style::throws:
        case Style::throws_unknown: throw_now(fault->style, spec_.stage_name(stage), n);
        case Style::drops_completion: return;
        case Style::throws_after_giving_away:
          answers_.later(stage, n, [done] { done(Message{}); });
          throw_now(fault->style, spec_.stage_name(stage), n);
        case Style::throws_after_completing:
          done(Message{n});
          throw_now(fault->style, spec_.stage_name(stage), n);
        case Style::completes_with_error_inside:
        case Style::completes_inside: entered.goes_on(); return answer(false);
        default: break;
      }
    }
    entered.goes_on();
    const auto call = std::make_shared<Call>();
    call->finish = std::move(answer);
    const bool is_deaf = fault && (fault->style == Style::completes_when_unwanted || fault->style == Style::completes_with_error_when_unwanted);
    if (!is_deaf) {
      // Half of the calls are aborted right inside the stop callback, and half by an answer that comes later.
      call->on_stop.emplace(context.stop, [weak = std::weak_ptr(call), &answers = answers_, stage, n] {
        const auto c = weak.lock();
        if (!c) return;
        if (n % 2) answers.later(stage, n, [c] { c->end(true); });
        else c->end(true);
      });
    }
    if (fault && fault->style == Style::hangs) {
      std::lock_guard lock(mutex_);
      hanging_.push_back(call);
    } else {
      answers_.later(stage, n, [call] { call->end(false); });
    }
  }

  void work(std::size_t stage, Message& m, Context& context) {
    switch (spec_.stages[stage - 1].part) {
      case Part::plain: m.value = mix(m.value, stage); break;
      case Part::reads: {
        const auto s = *spec_.staleness;
        if (context.lease.version.value != (m.n > s ? m.n - s : 0)) {
          broken("batch " + std::to_string(m.n) + " met version " + std::to_string(context.lease.version.value) + " of the student");
        }
        const auto student = student_->of(context);
        if (!student) return broken("batch " + std::to_string(m.n) + " met no student");
        m.value = mix(m.value, student->state);
        break;
      }
      case Part::trains: train(m, context); break;
      case Part::observes: m.evaluation.reset(); break;
    }
  }

  void train(Message& m, Context& context) {
    if (m.n + 1 != states_.size()) broken("batch " + std::to_string(m.n) + " was trained on after " + std::to_string(states_.size() - 1) + " others");
    state_ = mix(state_, m.value);
    states_.push_back(state_);
    if (!spec_.staleness) return;
    auto next = snapshots_.make(Student{state_});
    if (spec_.evaluate_every && spec_.has_observer() && m.n % spec_.evaluate_every == 0) m.evaluation = snapshots_.evaluate(next);
    student_->publish(context, std::move(next));
  }

  void enter(std::size_t stage, std::uint64_t n) {
    ++Watchdog::moves;
    auto& state = stages_[stage];
    {
      std::lock_guard lock(state.mutex);
      if (is_in_sequence(stage) && n != state.begun.size()) broken(spec_.stage_name(stage) + " met batch " + std::to_string(n) + " after " + std::to_string(state.begun.size()) + " others");
      state.begun.push_back(n);
      const auto limit = stage == 0 || stage == spec_.sink() ? 1 : spec_.stages[stage - 1].limit;
      if (++state.in_service > limit) broken(spec_.stage_name(stage) + " has " + std::to_string(state.in_service) + " batches in service");
    }
    if (spec_.stop && spec_.stop->at_entry == std::pair(stage, n)) stopper()();
    if (monitor_ && n % 8 == 0) (void)monitor_->read();
  }
  void leave(std::size_t stage) {
    auto& state = stages_[stage];
    std::lock_guard lock(state.mutex);
    --state.in_service;
  }
  /// A batch in service, until the end of the scope unless it goes on.
  class Entered {
   public:
    Entered(Rig& rig, std::size_t stage, const Message& m, const Context& context) : rig_(rig), stage_(stage) {
      if (m.n != context.seq.value) rig.broken(rig.spec_.stage_name(stage) + " met the message of another batch");
      rig.enter(stage, context.seq.value);
    }
    ~Entered() {
      if (!goes_on_) rig_.leave(stage_);
    }
    Entered(const Entered&) = delete;
    Entered& operator=(const Entered&) = delete;
    void goes_on() { goes_on_ = true; }

   private:
    Rig& rig_;
    const std::size_t stage_;
    bool goes_on_ = false;
  };

  std::function<void()> stopper() {
    return [stop = stop_, stop_now = stop_now_, clock = std::weak_ptr(clock_), spec = *spec_.stop]() mutable {
      if (spec.kind != StopSpec::Kind::stop_now) stop.request_stop();
      if (spec.kind == StopSpec::Kind::stop_now) stop_now.request_stop();
      if (spec.kind != StopSpec::Kind::stop_then_stop_now) return;
      if (const auto c = clock.lock()) c->call_at(c->now() + spec.second_delay, [stop_now]() mutable { stop_now.request_stop(); });
    };
  }

  // What must have come out.

  [[nodiscard]] std::size_t in_service() {
    std::size_t sum = 0;
    for (auto& stage : stages_) {
      std::lock_guard lock(stage.mutex);
      sum += stage.in_service;
    }
    return sum;
  }

  void check(const RunReport& report) {
    const auto require = [&](bool holds, std::string what) {
      if (!holds) broken(std::move(what));
    };
    const auto number = [](std::uint64_t n) { return std::to_string(n); };
    const auto cut = report.cut.value;
    require(in_service() == 0, "run() returned while calls were outstanding");
    require(report.admitted == report.retired, number(report.admitted) + " batches were admitted, and " + number(report.retired) + " retired");
    require(report.completed == cut, number(report.completed) + " batches were completed, and the cut is at " + number(cut));
    require(cut <= report.admitted && report.admitted <= std::min(spec_.batches, cut + spec_.depth), "the cut is at " + number(cut) + " of " + number(report.admitted) + " batches");
    check_status(report);
    check_sessions(report);

    require(sunk_.size() == report.completed, "the sink met " + number(sunk_.size()) + " batches, and " + number(report.completed) + " were completed");
    for (std::uint64_t n = 0; n < std::min(sunk_.size(), model_.sunk.size()); ++n) require(sunk_[n] == model_.sunk[n], "what the sink met of batch " + number(n) + " differs from the sequential run's");
    for (std::uint64_t n = 0; n < states_.size(); ++n) require(states_[n] == model_.states[n], "the student after " + number(n) + " batches differs from the sequential run's");
    for (std::size_t i = 1; i <= spec_.sink(); ++i) {
      auto begun = stages_[i].begun;
      std::ranges::sort(begun);
      require(std::ranges::adjacent_find(begun) == begun.end(), spec_.stage_name(i) + " met a batch twice");
      require(report.stages.size() != spec_.sink() || report.stages[i - 1].messages == begun.size(), spec_.stage_name(i) + " is reported with a number of messages that it did not meet");
      // Nothing below the cut was left out, and nothing that was not admitted was met.
      require(begun.size() >= cut && (cut == 0 || begun[cut - 1] == cut - 1), spec_.stage_name(i) + " did not meet every batch before the cut");
      require(begun.empty() || begun.back() < report.admitted, spec_.stage_name(i) + " met a batch that was not admitted");
    }
    if (spec_.staleness) {
      require(snapshots_.peak() <= static_cast<int>(*spec_.staleness) + 2, number(static_cast<std::uint64_t>(snapshots_.peak())) + " snapshots lived at once, beside evaluations");
      require(report.version.value + 1 == states_.size(), "the report's version of the student is " + number(report.version.value) + ", and it was trained on " + number(states_.size() - 1) + " batches");
      student_.reset();
      require(snapshots_.live() == 0, "a snapshot outlives the run");
    }
    if (spec_.is_watched) trace_.check();
  }

  void check_status(const RunReport& report) {
    using Status = RunReport::Status;
    const auto cut = report.cut.value;
    const auto trainer = spec_.trainer();
    const auto trained = stages_[trainer].begun.size();
    if (const auto& f = spec_.session_fault; f && f->is_at_open) {
      if (report.status != Status::failed || !report.failure || report.failure->stage != "open_" + std::to_string(f->session)) return broken("a session that does not open is not the failure");
      if (report.admitted || !stages_[0].begun.empty()) broken("the source began although a session did not open");
      return;
    }
    const bool was_stopped = stop_.stop_requested() || stop_now_.stop_requested();
    const bool close_fails = spec_.session_fault.has_value();
    // A failure to close makes the status, and hides neither a failure before it nor the cut.
    const bool is_close_failure = close_fails && report.failure && report.failure->stage == "close_" + std::to_string(spec_.session_fault->session);
    if (report.failure && !is_close_failure) {
      if (report.status != Status::failed) broken("there is a failure, and the status is another");
      if (!report.failure->seq) return broken("the engine failed: " + report.failure->error.message);
      const auto at = report.failure->seq->value;
      const auto* fault = std::find_if(spec_.faults.data(), spec_.faults.data() + spec_.faults.size(),
                                       [&](const Fault& f) { return f.at == at && spec_.stage_name(f.stage) == report.failure->stage && is_failure(f.style); });
      if (fault == spec_.faults.data() + spec_.faults.size()) return broken("a failure at batch " + std::to_string(at) + " in " + report.failure->stage + " that nobody made: " + report.failure->error.message);
      if (report.failure->error.message.find(message_of(fault->style, report.failure->stage, at)) == std::string::npos || report.failure->error.code != code_of(fault->style)) {
        broken("a stage that " + std::string(name_of(fault->style)) + " is reported as: " + report.failure->error.message);
      }
      const bool is_lowest = model_.lowest->at == at && model_.lowest->stage == fault->stage;
      // A stop may cut below a failure that was there before it; the lower failures did not come to pass then.
      if (cut == at ? !is_lowest : !(was_stopped && cut < at)) broken("the failure at batch " + std::to_string(at) + " in " + report.failure->stage + " is not the lowest, or the cut is elsewhere: at " + std::to_string(cut));
      if (cut < at || fault->stage < trainer) {
        if (trained != cut) broken(std::to_string(trained) + " batches were given to training, and the cut is at " + std::to_string(cut));
      } else if (fault->stage == trainer ? trained != cut + 1 : trained <= cut || trained > cut + spec_.depth) {
        broken(std::to_string(trained) + " batches were given to training, and training or a later stage failed at " + std::to_string(cut));
      }
      return;
    }
    if (close_fails != is_close_failure) broken("a session that does not close is not reported");
    if (!is_close_failure && report.status == Status::failed) broken("failed, without a failure");
    if (trained != cut) broken(std::to_string(trained) + " batches were given to training, and the cut is at " + std::to_string(cut));
    if (model_.lowest && cut > model_.lowest->at) broken("a batch that failed was passed over");
    if (!was_stopped && (model_.lowest || cut != spec_.batches || report.admitted != spec_.batches)) broken("nothing failed and nobody stopped, but only " + std::to_string(cut) + " batches are complete");
    if (!was_stopped && report.status == Status::stopped) broken("stopped, and nobody asked for it");
    if (report.status == Status::finished && (!has_ended_ || cut != spec_.batches)) broken("finished before the source's end");
    // On a simulated clock an hour passes as soon as nothing else is left to do.
    const bool nothing_is_cut = was_stopped && !spec_.is_simulated && !stop_now_.stop_requested() && spec_.stop->grace >= std::chrono::minutes(1);
    if (nothing_is_cut && (cut != report.admitted)) broken("a stop with time enough cut something off");
  }

  void check_sessions(const RunReport& report) {
    const auto& fault = spec_.session_fault;
    const auto opened = fault && fault->is_at_open ? fault->session : spec_.sessions;
    std::vector<std::string> due;
    for (std::size_t k = 0; k < std::min(opened + 1, spec_.sessions); ++k) due.push_back("open " + std::to_string(k));
    for (std::size_t k = opened; k-- > 0;) due.push_back("close " + std::to_string(k));
    if (session_log_ != due) broken("the sessions were not opened in order and closed in reverse, each once");
    if ((report.close_failures.size() == 1) != (fault && !fault->is_at_open) || report.close_failures.size() > 1) broken(std::to_string(report.close_failures.size()) + " failures to close are reported");
  }

  const FlowSpec& spec_;
  const Model model_;
  Answers& answers_;
  const std::shared_ptr<Clock> clock_;
  test::SnapshotCounter snapshots_;
  std::optional<Feedback<Student>> student_;
  std::stop_source stop_, stop_now_;
  std::shared_ptr<Monitor> monitor_;

  std::mutex mutex_;  // guards the two below
  std::vector<std::string> broken_;
  std::vector<std::shared_ptr<Call>> hanging_;

  std::vector<StageState> stages_;
  std::atomic<std::size_t> in_flight_{0};
  // Without a lock: the engine promises that their stages are met by one batch after the other.
  bool has_ended_ = false;
  std::uint64_t state_ = 1;
  std::vector<std::uint64_t> states_{1};
  std::vector<std::uint64_t> sunk_;
  std::vector<std::string> session_log_;
  PairedTrace trace_;
};

}  // namespace

Outcome run_lawfully(const FlowSpec& spec, Answers& answers, std::shared_ptr<Clock> clock, const std::function<void()>& on_back) {
  return Rig(spec, answers, std::move(clock)).run(on_back);
}

std::string to_text(const std::vector<std::string>& broken) {
  std::string text;
  for (const auto& what : broken) text += what + "\n";
  return text;
}

}  // namespace pipestill::laws
