#include "bench/harness.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace pipestill;
using namespace pipestill::bench;

TEST_CASE("a spread has the middle value, or the mean of the middle two") {
  CHECK(spread({3}).median == 3);
  const auto odd = spread({9, 1, 4});
  CHECK(odd.min == 1);
  CHECK(odd.median == 4);
  CHECK(odd.max == 9);
  const auto even = spread({8, 1, 2, 4});
  CHECK(even.min == 1);
  CHECK(even.median == 3);
  CHECK(even.max == 8);
  CHECK(to_text(even, 1) == "3.0 (1.0 to 8.0)");
}

TEST_CASE("a goal is met from its own value on") {
  CHECK(std::string(verdict(0.97, 0.97)) == "met");
  CHECK(std::string(verdict(0.9699, 0.97)) == "missed");
}

TEST_CASE("cases take turns in going first") {
  std::string order;
  std::vector<Measure> cases;
  const auto add = [&](char name) {
    cases.push_back([&order, name]() -> Result<void> {
      order += name;
      return {};
    });
  };
  add('A');
  add('B');
  CHECK(interleave(4, cases));
  CHECK(order == "ABBAABBA");
  add('C');
  order.clear();
  CHECK(interleave(4, cases));
  CHECK(order == "ABCBCACABABC");
  CHECK(interleave(0, cases));
  CHECK(interleave(3, {}));
}

TEST_CASE("the first failure ends the measuring") {
  int calls = 0;
  const std::vector<Measure> cases{[&]() -> Result<void> {
                                     ++calls;
                                     return {};
                                   },
                                   [&]() -> Result<void> { return fail(ErrorCode::backend_failed, "no power"); }};
  const auto outcome = interleave(5, cases);
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().message == "no power");
  CHECK(calls == 1);
}

TEST_CASE("the time of a call is a mean over as many calls as fill the time, and one at least") {
  int calls = 0;
  CHECK(per_call(0, [&] { ++calls; }).cpu_s >= 0);
  CHECK(calls == 1);
  calls = 0;
  const auto taken = per_call(0.002, [&] { ++calls; });
  CHECK(taken.wall_s * calls >= 0.00199);
  CHECK(taken.cpu_s >= 0);
}
