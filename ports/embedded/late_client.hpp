#pragma once
// LateClient: a client of the torch module that is made when the first model is opened, and not before.
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "ports/embedded/torch_module.hpp"

namespace pipestill::embedded {

/// `Client` is SamplingClient or TrainingClient. Thread-safe.
template <class Client>
class LateClient {
 public:
  using Make = std::shared_ptr<Client> (*TorchModule::*)(TorchOptions);
  LateClient(Make make, TorchOptions options) : make_(make), options_(options) {}

  /// Calls `then` with the client, or with the reason why there is none, on a thread of its own: libtorch takes half a second to load.
  void with_client(std::function<void(Result<std::shared_ptr<Client>>)> then) {
    const std::lock_guard lock(mutex_);
    loader_ = std::jthread([this, then = std::move(then), before = std::move(loader_)]() mutable {
      if (before.joinable()) before.join();
      then(client());
    });
  }

 private:
  Result<std::shared_ptr<Client>> client() {
    if (client_) return client_;
    return load_torch_module().map([this](const TorchModule* module) { return client_ = (module->*make_)(options_); });
  }

  const Make make_;
  const TorchOptions options_;
  std::shared_ptr<Client> client_;  // the loader's
  std::mutex mutex_;                // guards loader_
  std::jthread loader_;             // one after the other; last: it ends before what it uses
};

}  // namespace pipestill::embedded
