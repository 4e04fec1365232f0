#include "nodes/forward_backward.hpp"

#include <array>
#include <mutex>
#include <utility>
#include <vector>

#include "nodes/describe.hpp"
#include "nodes/learning_rate.hpp"
#include "ports/fault_point.hpp"

namespace pipestill {
namespace {

std::optional<double> metric(const std::map<std::string, double>& metrics, const char* name) {
  const auto found = metrics.find(name);
  return found == metrics.end() ? std::nullopt : std::optional(found->second);
}

/// Whether what comes every so many batches comes behind this one.
bool is_due(std::uint64_t every, const Position& at) { return every > 0 && (at.step + 1) % every == 0; }

/// The operations of one step, which end one after the other; the last end completes the batch.
class Step {
 public:
  Step(std::shared_ptr<const ForwardBackwardOptions> options, graph::Context& context, StepResult result, std::size_t operations,
       Completion<StepResult> done)
      : options_(std::move(options)), context_(context), result_(std::move(result)), outstanding_(operations), done_(std::move(done)) {}

  void trained(Result<ForwardBackwardOutput> output) {
    if (options_->overlap) options_->overlap->forward_backward_ended();
    const auto now = options_->clock->now();
    ended(0, std::move(output), [&](const ForwardBackwardOutput& o) {
      result_.distill_loss = metric(o.metrics, "loss");
      result_.train_end = now;
    });
  }
  void stepped(Result<OptimStepOutput> output) {
    fault_point("training.after_optim_step");
    ended(1, std::move(output), [&](const OptimStepOutput& o) {
      result_.grad_norm = metric(o.metrics, "grad_norm");
      result_.has_trained = true;
      if (options_->history) options_->history->met(result_.at.step);
    });
  }
  void snapped(Result<std::shared_ptr<SamplingSession>> snapshot) {
    ended(2, std::move(snapshot), [&](std::shared_ptr<SamplingSession>& s) { snapshot_ = std::move(s); });
  }
  void captured(Result<std::shared_ptr<const TrainingState>> state) {
    ended(3, std::move(state), [&](std::shared_ptr<const TrainingState>& s) { state_ = std::move(s); });
  }

 private:
  template <class T, class Take>
  void ended(std::size_t operation, Result<T> output, Take take) {
    {
      std::lock_guard lock(mutex_);
      if (output)
        take(*output);
      else
        errors_[operation] = std::move(output.error());
      if (--outstanding_ > 0) return;
    }
    for (auto& error : errors_) {
      if (error) return done_(fail(*std::move(error)));
    }
    if (options_->feedback && snapshot_)
      options_->feedback->publish(context_, std::make_shared<const StudentVersion>(StudentVersion{snapshot_}));
    if (snapshot_) fault_point("training.after_publish");
    if (options_->history) options_->history->passed(result_.at.step, snapshot_);
    if (state_) result_.captured = std::make_shared<const CapturedStudent>(CapturedStudent{state_, options_->history->older_than(result_.at.step + 1)});
    if (is_due(options_->evaluation_every, result_.at)) result_.snapshot = std::move(snapshot_);
    if (result_.has_trained) {
      options_->telemetry->event("pipestill.distillation.forward_backward",
                                 {{"step", result_.at.step},
                                  {"num_tokens", result_.num_tokens},
                                  {"learning_rate", result_.learning_rate},
                                  {"duration_ms", static_cast<double>((result_.train_end - result_.train_begin).count()) / 1e6}});
    }
    done_(std::move(result_));
  }

  const std::shared_ptr<const ForwardBackwardOptions> options_;
  graph::Context& context_;  // valid until the batch is completed, which is the last thing done here
  std::mutex mutex_;         // guards the rest until the last operation has ended
  StepResult result_;
  std::array<std::optional<Error>, 4> errors_;  // in the operations' order, which is that of precedence
  std::shared_ptr<SamplingSession> snapshot_;
  std::shared_ptr<const TrainingState> state_;
  std::size_t outstanding_;
  Completion<StepResult> done_;
};

}  // namespace

Description ForwardBackward::describe() { return describe_forward_backward(); }

void ForwardBackward::operator()(DatumBatch batch, graph::Context& context, Completion<StepResult> done) const {
  StepResult result{.at = batch.at,
                    .num_tokens = batch.num_tokens,
                    .datum_digest = std::move(batch.datum_digest),
                    .student_version = batch.student_version,
                    .teacher_cost = batch.teacher_cost};
  result.learning_rate = learning_rate(options_->training, batch.at.step, options_->total_steps);
  result.train_begin = result.train_end = options_->clock->now();
  std::vector<Datum> datums;
  result.rows.reserve(batch.rows.size());
  for (auto& row : batch.rows) {
    if (row.row.dropped) ++result.dropped[*row.row.dropped];
    if (row.datum) datums.push_back(*std::move(row.datum));
    result.rows.push_back(std::move(row.row));
  }

  const bool is_training = !datums.empty();
  const bool is_snapped = is_due(options_->evaluation_every, batch.at) || (options_->feedback && is_training);
  const bool is_captured = is_due(options_->checkpoint_every, batch.at);
  const auto stop = context.stop;  // a copy: with the last operation's end the batch, and its context, go on
  const std::size_t operations = (is_training ? 2 : 0) + (is_snapped ? 1 : 0) + (is_captured ? 1 : 0);
  if (operations == 0) {  // completed later: never from inside the call
    if (options_->history) options_->history->passed(batch.at.step, nullptr);
    options_->clock->call_at(options_->clock->now(), [result = std::move(result), done] { done(result); });
    return;
  }
  const auto step = std::make_shared<Step>(options_, context, std::move(result), operations, std::move(done));
  auto& student = *options_->student;
  if (is_training) {
    if (options_->overlap) options_->overlap->forward_backward_begins();
    auto adam = options_->training.adam;
    adam.learning_rate = learning_rate(options_->training, batch.at.step, options_->total_steps);
    student.forward_backward(std::move(datums), options_->training.loss, stop,
                             Completion<ForwardBackwardOutput>([step](Result<ForwardBackwardOutput> o) { step->trained(std::move(o)); }));
    fault_point("training.before_optim_step");
    student.optim_step(adam, stop, Completion<OptimStepOutput>([step](Result<OptimStepOutput> o) { step->stepped(std::move(o)); }));
  }
  if (is_snapped) {
    student.snapshot(stop, Completion<std::shared_ptr<SamplingSession>>(
                               [step](Result<std::shared_ptr<SamplingSession>> s) { step->snapped(std::move(s)); }));
  }
  if (is_captured) {
    student.capture_state(stop, Completion<std::shared_ptr<const TrainingState>>(
                                    [step](Result<std::shared_ptr<const TrainingState>> s) { step->captured(std::move(s)); }));
  }
}

}  // namespace pipestill
