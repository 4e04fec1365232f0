// Many messages on the flow graph: an order that is lost once in 100,000 times is lost here.
#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

#include "graph/engine.hpp"

using namespace pipestill::graph;

// PIPESTILL_LAWS_MESSAGES=n sends as many in all.
TEST_CASE("no message of a million overtakes another behind a stage that takes them in any order") {
  const char* text = std::getenv("PIPESTILL_LAWS_MESSAGES");
  const auto messages = (text ? std::stoull(text) : 1'000'000) / 2;
  for (const std::size_t threads : {2, 4}) {
    std::uint64_t began = 0, expected = 0, inversions = 0;
    auto flow = from("source", [n = std::uint64_t{0}, messages](Context&) mutable { return n < messages ? std::optional(n++) : std::nullopt; })
                    .then("any", any_order(4), [](std::uint64_t n, Context&) { return n; })
                    .then("in_sequence", in_sequence(), [&](std::uint64_t n, Context&) {
                      inversions += n != began++ ? 1 : 0;
                      return n;
                    })
                    .into("sink", [&](std::uint64_t n, Context&) { inversions += n != expected++ ? 1 : 0; });
    const auto report = run(std::move(flow), {.depth = 8, .threads = threads});
    CAPTURE(threads);
    CHECK(report.status == RunReport::Status::finished);
    CHECK(inversions == 0);
    CHECK(began == messages);
    CHECK(expected == messages);
    CHECK(report.completed == messages);
  }
}
