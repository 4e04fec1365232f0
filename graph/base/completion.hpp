#pragma once
// Completion<T>: how an asynchronous call answers.
#include <atomic>
#include <functional>
#include <memory>
#include <utility>

#include "graph/base/error.hpp"

namespace pipestill {

/// The answer to one asynchronous call, in a stage as in a port.
///
/// The callee calls it exactly once, from any thread, never from inside the call that was given it, never while it
/// holds a lock, and only when nothing of the request is outstanding any more. The handler neither throws nor blocks.
/// Later calls are ignored. If every copy dies uncalled, the handler gets ErrorCode::internal: a forgotten
/// completion fails its batch instead of hanging the run.
/// Cheap to copy; copies share one answer. Thread-safe.
template <class T>
class Completion {
 public:
  explicit Completion(std::function<void(Result<T>)> handler) : once_(std::make_shared<Once>(std::move(handler))) {}

  void operator()(Result<T> result) const noexcept { once_->deliver(std::move(result)); }

 private:
  struct Once {
    explicit Once(std::function<void(Result<T>)> h) : handler(std::move(h)) {}
    Once(const Once&) = delete;
    Once& operator=(const Once&) = delete;
    ~Once() {
      if (!is_delivered.load(std::memory_order_acquire)) deliver(fail(ErrorCode::internal, "a completion was dropped without being called"));
    }
    void deliver(Result<T> result) noexcept {
      if (is_delivered.exchange(true, std::memory_order_acq_rel)) return;
      const auto h = std::move(handler);  // what the handler holds is freed when it has run, not when the last copy dies
      handler = nullptr;
      h(std::move(result));
    }
    std::function<void(Result<T>)> handler;
    std::atomic<bool> is_delivered{false};
  };
  std::shared_ptr<Once> once_;
};

}  // namespace pipestill
