// Payload: one holder, one destruction, whatever the message's size.
#include "graph/payload.hpp"

#include <doctest/doctest.h>

#include <array>
#include <memory>
#include <string>

using pipestill::graph::detail::Payload;

namespace {

template <std::size_t Bytes>
struct CountedPayload {
  explicit CountedPayload(std::shared_ptr<int> a) : alive(std::move(a)) {}
  std::shared_ptr<int> alive;  // its use count is the number of messages, and one
  std::array<char, Bytes> rest{};
};

template <class T>
void hold_move_and_drop() {
  const auto alive = std::make_shared<int>(7);
  {
    Payload a = Payload::of(T(alive));
    CHECK(alive.use_count() == 2);
    CHECK(*a.as<T>().alive == 7);
    Payload b(std::move(a));
    CHECK(!a);  // NOLINT: an empty payload is what a move leaves
    CHECK(b);
    CHECK(alive.use_count() == 2);
    a = std::move(b);
    Payload other = Payload::of(std::string("another message of another type"));
    other = std::move(a);
    CHECK(*other.as<T>().alive == 7);
    CHECK(alive.use_count() == 2);
    other.reset();
    CHECK(!other);
    CHECK(alive.use_count() == 1);
    other = Payload::of(T(alive));
    CHECK(alive.use_count() == 2);
  }
  CHECK(alive.use_count() == 1);
}

}  // namespace

TEST_CASE("a payload holds its message wherever it has room, and drops it once") {
  hold_move_and_drop<CountedPayload<1>>();    // inside
  hold_move_and_drop<CountedPayload<200>>();  // on the heap
  CHECK(!Payload());
}

TEST_CASE("a message whose move may throw, or that is aligned wider than most, is kept on the heap") {
  struct ThrowingMove {
    ThrowingMove() = default;
    ThrowingMove(ThrowingMove&& other) noexcept(false) : value(other.value) {}
    int value = 5;
  };
  struct alignas(64) Wide {
    int value = 6;
  };
  auto a = Payload::of(ThrowingMove());
  auto b = Payload::of(Wide());
  const auto* before = &b.as<Wide>();
  auto c = std::move(a);
  auto d = std::move(b);
  CHECK(c.as<ThrowingMove>().value == 5);
  CHECK(d.as<Wide>().value == 6);
  CHECK(&d.as<Wide>() == before);  // it was not moved, its holder was
  CHECK(reinterpret_cast<std::uintptr_t>(before) % 64 == 0);
}
