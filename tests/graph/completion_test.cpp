#include "graph/base/completion.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <thread>
#include <vector>

using namespace pipestill;

TEST_CASE("a completion delivers once, whoever calls it and however often") {
  std::atomic<int> calls{0};
  {
    Completion<int> done([&](Result<int>) { ++calls; });
    std::vector<std::jthread> threads;
    for (int k = 0; k < 4; ++k) threads.emplace_back([done, k] { done(k); });
  }
  CHECK(calls == 1);
}

TEST_CASE("a completion whose last copy dies uncalled delivers an internal error") {
  Result<int> got = 0;
  {
    Completion<int> done([&](Result<int> r) { got = std::move(r); });
    const auto copy = done;
  }
  REQUIRE_FALSE(got.has_value());
  CHECK(got.error().code == ErrorCode::internal);
}

TEST_CASE("a completion frees what its handler holds when it has run") {
  auto held = std::make_shared<int>(1);
  Completion<int> done([held](Result<int>) {});
  CHECK(held.use_count() == 2);
  done(0);
  CHECK(held.use_count() == 1);
}
