#include "nodes/request_queue.hpp"

#include <doctest/doctest.h>

#include <thread>
#include <utility>

#include "tests/nodes/fakes.hpp"

namespace {

using namespace pipestill;
using namespace pipestill::test;

struct QueueFixture {
  std::shared_ptr<ManualSampling> session = std::make_shared<ManualSampling>();
  std::shared_ptr<SimulatedClock> clock = std::make_shared<SimulatedClock>();
  std::vector<std::uint64_t> answered;  // seeds, in the order of the answers
  std::vector<Error> errors;

  RequestQueue queue(std::size_t in_flight) { return {session, in_flight, clock}; }
  void ask(const RequestQueue& queue, std::uint64_t batch, std::size_t row, std::stop_token stop = {}) {
    const std::uint64_t seed = batch * 100 + row;
    queue.sample({batch, row}, {.prompt = {}, .params = {.seed = seed}}, stop,
                 Completion<SampledSequence>([this, seed](Result<SampledSequence> r) {
                   if (r)
                     answered.push_back(seed);
                   else
                     errors.push_back(r.error());
                 }));
  }
  std::vector<std::uint64_t> sent() const {
    std::vector<std::uint64_t> seeds;
    for (const auto& s : session->samples) seeds.push_back(s.request.params.seed);
    return seeds;
  }
};

}  // namespace

TEST_CASE("waiting requests go out oldest batch first, then by row, across batches") {
  QueueFixture f;
  const auto queue = f.queue(2);
  for (const auto& [batch, row] : std::vector<std::pair<std::uint64_t, std::size_t>>{{3, 0}, {3, 1}, {3, 2}, {2, 1}, {2, 0}, {1, 5}})
    f.ask(queue, batch, row);
  CHECK(f.sent() == std::vector<std::uint64_t>{300, 301});  // the first two found a place at once
  std::vector<std::uint64_t> order;
  while (!f.session->samples.empty()) {
    order.push_back(f.session->samples.front().request.params.seed);
    CHECK(f.session->samples.size() <= 2);
    f.session->answer(answer_of("a."));
  }
  CHECK(order == std::vector<std::uint64_t>{300, 301, 105, 200, 201, 302});
  CHECK(f.answered == order);
}

TEST_CASE("a session that answers from inside the call costs no stack") {
  QueueFixture f;
  const auto queue = f.queue(1);
  f.ask(queue, 0, 0);
  for (std::size_t row = 1; row < 50'000; ++row) f.ask(queue, 1, row);
  f.session->answer_at_once = [](const SampleRequest&) { return answer_of("a."); };
  f.session->answer(answer_of("a."));  // and all others follow
  CHECK(f.answered.size() == 50'000);
}

TEST_CASE("a request that is stopped while it waits is answered at once and never sent") {
  QueueFixture f;
  const auto queue = f.queue(1);
  std::stop_source stop;
  f.ask(queue, 0, 0);
  f.ask(queue, 0, 1, stop.get_token());
  f.ask(queue, 0, 2);
  stop.request_stop();
  REQUIRE(f.errors.size() == 1);
  CHECK(f.errors[0].code == ErrorCode::cancelled);
  f.session->answer(answer_of("a."));
  CHECK(f.sent() == std::vector<std::uint64_t>{2});
  f.session->answer(answer_of("a."));
}

TEST_CASE("a request that was stopped before it came is not answered from inside the call") {
  QueueFixture f;
  const auto queue = f.queue(1);
  std::stop_source stop;
  stop.request_stop();
  f.ask(queue, 0, 0, stop.get_token());
  CHECK(f.errors.empty());
  run_to_the_end(*f.clock);
  REQUIRE(f.errors.size() == 1);
  CHECK(f.errors[0].code == ErrorCode::cancelled);
  CHECK(f.session->samples.empty());
}

TEST_CASE("a completion that the session drops fails its request and leaks no place") {
  QueueFixture f;
  const auto queue = f.queue(1);
  f.ask(queue, 0, 0);
  f.ask(queue, 0, 1);
  f.session->samples.pop_front();  // dropped uncalled
  REQUIRE(f.errors.size() == 1);
  CHECK(f.errors[0].code == ErrorCode::internal);
  CHECK(f.sent() == std::vector<std::uint64_t>{1});
  f.session->answer(answer_of("a."));
}

TEST_CASE("a session that throws fails that request alone") {
  QueueFixture f;
  const auto queue = f.queue(1);
  f.session->answer_at_once = [](const SampleRequest& r) -> Result<SampledSequence> {
    if (r.params.seed == 0) throw std::runtime_error("no");
    return answer_of("a.");
  };
  f.ask(queue, 0, 0);
  f.ask(queue, 0, 1);
  REQUIRE(f.errors.size() == 1);
  CHECK(f.errors[0].message.find("no") != std::string::npos);
  CHECK(f.answered == std::vector<std::uint64_t>{1});
}

TEST_CASE("a handler may ask again: no lock of the queue is held") {
  QueueFixture f;
  const auto queue = f.queue(1);
  int answers = 0;
  queue.sample({0, 0}, {}, {}, Completion<SampledSequence>([&](Result<SampledSequence>) {
                 ++answers;
                 queue.sample({0, 1}, {}, {}, Completion<SampledSequence>([&](Result<SampledSequence>) { ++answers; }));
               }));
  f.session->answer(answer_of("a."));
  f.session->answer(answer_of("a."));
  CHECK(answers == 2);
}

TEST_CASE("under contention every request is answered exactly once, stopped or not") {
  const auto session = std::make_shared<ManualSampling>();
  session->answer_at_once = [](const SampleRequest&) { return answer_of("a."); };
  const auto clock = std::make_shared<SystemClock>();
  const RequestQueue queue(session, 3, clock);
  constexpr int kThreads = 4, kRequests = 2000;
  std::vector<std::atomic<int>> answers(kThreads * kRequests);
  std::atomic<int> outstanding = kThreads * kRequests;
  std::stop_source stop;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < kRequests; ++i) {
          if (t == 0 && i == kRequests / 2) stop.request_stop();
          const auto id = static_cast<std::size_t>(t * kRequests + i);
          queue.sample({static_cast<std::uint64_t>(i), static_cast<std::size_t>(t)}, {}, t % 2 ? stop.get_token() : std::stop_token{},
                       Completion<SampledSequence>([&, id](Result<SampledSequence>) {
                         ++answers[id];
                         if (--outstanding == 0) outstanding.notify_all();
                       }));
        }
      });
    }
  }
  for (int left = outstanding; left > 0; left = outstanding) outstanding.wait(left);
  CHECK(std::all_of(answers.begin(), answers.end(), [](const auto& n) { return n == 1; }));
}
