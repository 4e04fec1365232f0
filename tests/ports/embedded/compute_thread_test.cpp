#include "ports/embedded/compute_thread.hpp"

#include <doctest/doctest.h>

#include <future>
#include <thread>
#include <vector>

using namespace pipestill;
using namespace pipestill::embedded;

TEST_CASE("training goes before sampling, each in its order") {
  std::vector<int> order;
  std::promise<void> gate, done;
  {
    ComputeThread thread;
    thread.submit(ComputeThread::Priority::sampling, nullptr, [&] { gate.get_future().wait(); });
    for (const int i : {10, 11}) thread.submit(ComputeThread::Priority::sampling, nullptr, [&, i] { order.push_back(i); });
    for (const int i : {0, 1}) thread.submit(ComputeThread::Priority::training, nullptr, [&, i] { order.push_back(i); });
    thread.submit(ComputeThread::Priority::sampling, nullptr, [&] { done.set_value(); });
    gate.set_value();
    done.get_future().wait();
  }
  CHECK(order == std::vector<int>{0, 1, 10, 11});
}

TEST_CASE("a running task counts as far as it has come") {
  ComputeThread thread;
  const auto meter = std::make_shared<UsageMeter>();
  std::promise<void> started, gate, done;
  thread.submit(ComputeThread::Priority::training, meter, [&] {
    started.set_value();
    gate.get_future().wait();
    done.set_value();
  });
  started.get_future().wait();
  const auto first = meter->usage().compute;
  std::this_thread::yield();
  CHECK(meter->usage().compute >= first);
  CHECK(meter->usage().compute.count() > 0);
  gate.set_value();
  done.get_future().wait();
}

TEST_CASE("the last owner may go in a task, and unrun tasks are destroyed") {
  auto thread = std::make_shared<ComputeThread>();
  auto alive = std::make_shared<int>(0);
  const std::weak_ptr<int> watched = alive;
  std::promise<void> gate;
  auto gone = std::make_shared<std::promise<void>>();
  auto future = gone->get_future();
  auto* raw = thread.get();
  raw->submit(ComputeThread::Priority::training, nullptr,
              [&gate, gone, owner = std::make_shared<std::shared_ptr<ComputeThread>>(std::move(thread))] {
                gate.get_future().wait();
                owner->reset();
                gone->set_value();
              });
  raw->submit(ComputeThread::Priority::sampling, nullptr, [alive = std::move(alive)] { FAIL("must not run"); });
  gate.set_value();
  future.wait();
  CHECK(watched.expired());
}
