#include "nodes/request_queue.hpp"

#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

namespace pipestill {
namespace {

Error not_sent() { return {ErrorCode::cancelled, "stopped before the request was sent"}; }

}  // namespace

class RequestQueue::Queue : public std::enable_shared_from_this<Queue> {
 public:
  Queue(std::shared_ptr<SamplingSession> session, std::size_t in_flight, std::shared_ptr<Clock> clock)
      : session_(std::move(session)), clock_(std::move(clock)), free_(in_flight) {}

  template <class Answer, class Send>
  void submit(Priority priority, std::stop_token stop, Completion<Answer> done, std::function<void()> on_sent, Send send) {
    auto job = std::make_shared<Job>();
    job->stop = stop;
    job->send = [this, send = std::move(send), done, on_sent = std::move(on_sent)]() mutable {
      if (on_sent) on_sent();
      // Called by the session, or by the completion's own last copy if the session drops it: either way the place comes back.
      const Completion<Answer> answered([self = shared_from_this(), done](Result<Answer> answer) {
        self->free_place();
        done(std::move(answer));
      });
      try {
        send(*session_, answered);
      } catch (const std::exception& e) {
        answered(fail(ErrorCode::internal, std::string("the session threw an exception: ") + e.what()));
      } catch (...) {
        answered(fail(ErrorCode::internal, "the session threw an exception of an unknown type"));
      }
    };
    job->cancel = [done] { done(fail(not_sent())); };

    std::unique_lock lock(mutex_);
    const Key key{priority, submitted_++};
    lock.unlock();
    // Before the request is visible: a stop between here and the insertion finds nothing to withdraw, and the check below sees it.
    job->on_stop.emplace(stop, [queue = weak_from_this(), key] {
      if (const auto self = queue.lock()) self->withdraw(key);
    });
    lock.lock();
    if (stop.stop_requested()) {
      lock.unlock();
      return cancel_later(std::move(job));
    }
    waiting_.emplace(key, std::move(job));
    lock.unlock();
    pump();
  }

 private:
  struct Key {
    Priority priority;
    std::uint64_t order;  // of the submission, among equals
    auto operator<=>(const Key&) const = default;
  };
  struct Job {
    std::stop_token stop;
    std::function<void()> send, cancel;
    std::optional<std::stop_callback<std::function<void()>>> on_stop;
  };

  void free_place() {
    {
      std::lock_guard lock(mutex_);
      ++free_;
    }
    pump();
  }

  /// One thread sends at a time; the others leave their news to it. So a session that answers at once costs a turn of this loop and no
  /// stack.
  void pump() {
    std::unique_lock lock(mutex_);
    if (is_pumping_) return;
    is_pumping_ = true;
    while (free_ > 0 && !waiting_.empty()) {
      const auto job = std::move(waiting_.extract(waiting_.begin()).mapped());
      --free_;
      lock.unlock();
      job->on_stop.reset();  // waits for a stop callback under way, which takes the lock
      if (job->stop.stop_requested()) {
        cancel_later(job);
        lock.lock();
        ++free_;
        continue;
      }
      job->send();
      lock.lock();
    }
    is_pumping_ = false;
  }

  /// Not from inside the caller's own call.
  void cancel_later(std::shared_ptr<Job> job) {
    clock_->call_at(clock_->now(), [job = std::move(job)] { job->cancel(); });
  }

  void withdraw(const Key& key) {
    std::shared_ptr<Job> job;
    {
      std::lock_guard lock(mutex_);
      const auto found = waiting_.find(key);
      if (found == waiting_.end()) return;
      job = std::move(found->second);
      waiting_.erase(found);
    }
    job->cancel();
  }

  const std::shared_ptr<SamplingSession> session_;
  const std::shared_ptr<Clock> clock_;
  std::mutex mutex_;  // guards the rest
  std::size_t free_;
  std::uint64_t submitted_ = 0;
  bool is_pumping_ = false;
  std::map<Key, std::shared_ptr<Job>> waiting_;
};

RequestQueue::RequestQueue(std::shared_ptr<SamplingSession> session, std::size_t in_flight, std::shared_ptr<Clock> clock)
    : queue_(std::make_shared<Queue>(std::move(session), in_flight, std::move(clock))) {}

void RequestQueue::sample(Priority priority, SampleRequest request, std::stop_token stop, Completion<SampledSequence> done,
                          std::function<void()> on_sent) const {
  queue_->submit(priority, stop, std::move(done), std::move(on_sent),
                 [request = std::move(request), stop](SamplingSession& session, Completion<SampledSequence> answered) mutable {
                   session.sample(std::move(request), stop, std::move(answered));
                 });
}

void RequestQueue::compute_logprobs(Priority priority, ScoreRequest request, std::stop_token stop, Completion<Score> done,
                                    std::function<void()> on_sent) const {
  queue_->submit(priority, stop, std::move(done), std::move(on_sent),
                 [request = std::move(request), stop](SamplingSession& session, Completion<Score> answered) mutable {
                   session.compute_logprobs(std::move(request), stop, std::move(answered));
                 });
}

}  // namespace pipestill
