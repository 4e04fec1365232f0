// What only oneTBB can get wrong.
#include <doctest/doctest.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>

#include <atomic>
#include <thread>

#include "graph/engine.hpp"

using namespace pipestill;
using namespace pipestill::graph;

namespace {

std::uint64_t inversions(std::uint64_t messages, std::size_t threads, std::size_t depth) {
  std::uint64_t expected = 0, wrong = 0;
  auto flow = from("source", [n = std::uint64_t{0}, messages](Context&) mutable { return n < messages ? std::optional(n++) : std::nullopt; })
                  .then("any", any_order(4), [](std::uint64_t n, Context&) { return n; })
                  .then("first", in_sequence(), [](std::uint64_t n, Context&) { return n; })
                  .then("second", in_sequence(), [](std::uint64_t n, Context&) { return n; })
                  .into("sink", [&](std::uint64_t n, Context&) { wrong += n != expected++ ? 1 : 0; });
  const auto report = run(std::move(flow), {.depth = depth, .threads = threads});
  CHECK(report.status == RunReport::Status::finished);
  CHECK(report.completed == messages);
  return wrong;
}

}  // namespace

TEST_CASE("serial stages keep order over many messages") {
  for (const std::size_t threads : {1, 2}) {
    for (const std::size_t depth : {2, 16}) CHECK(inversions(100'000, threads, depth) == 0);
  }
}

TEST_CASE("as many threads run stages as were asked for, more than the machine has cores or not") {
  const std::size_t most = std::thread::hardware_concurrency() + 2;
  CHECK(inversions(100, 1, 1) == 0);  // oneTBB has begun: from here on it has a worker a core
  for (const std::size_t threads : {std::size_t{2}, most}) {
    INFO(threads << " threads");
    std::atomic<std::size_t> inside{0}, waited_in_vain{0};
    auto flow = from("source", [n = std::size_t{0}, threads](Context&) mutable { return n < threads ? std::optional(n++) : std::nullopt; })
                    .then("meet", any_order(threads),
                          [&](std::size_t n, Context&) {  // holds its thread until all are here
                            ++inside;
                            for (int i = 0; i < 10'000 && inside < threads; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
                            waited_in_vain += inside < threads ? 1 : 0;
                            return n;
                          })
                    .into("sink", [](std::size_t, Context&) {});
    CHECK(run(std::move(flow), {.depth = threads, .threads = threads}).status == RunReport::Status::finished);
    CHECK(waited_in_vain == 0);
  }
}

TEST_CASE("a run may begin inside a TBB task, and several go on at once") {
  std::atomic<std::uint64_t> wrong{0};
  oneapi::tbb::parallel_for(0, 4, [&](int) { wrong += inversions(2'000, 2, 4); });
  oneapi::tbb::task_arena one(1);
  one.execute([&] { wrong += inversions(2'000, 1, 4); });
  {
    std::jthread a([&] { wrong += inversions(5'000, 2, 4); });
    std::jthread b([&] { wrong += inversions(5'000, 2, 4); });
  }
  CHECK(wrong == 0);
}
