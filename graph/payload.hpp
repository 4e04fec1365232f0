#pragma once
// Payload: a message with its type erased.
#include <concepts>
#include <cstddef>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

namespace pipestill::graph::detail {

/// Holds one message, or none. Move-only: a message has exactly one holder. Small messages live inside, larger ones on the heap.
class Payload {
 public:
  Payload() = default;
  template <class T>
  static Payload of(T&& value) {
    using Held = std::decay_t<T>;
    Payload payload;
    if constexpr (kIsInside<Held>) new (payload.inside_) Held(std::forward<T>(value));
    else payload.heap() = new Held(std::forward<T>(value));
    payload.kind_ = &kKindOf<Held>;
    return payload;
  }
  Payload(Payload&& other) noexcept { take(other); }
  Payload& operator=(Payload&& other) noexcept {
    if (this != &other) {
      reset();
      take(other);
    }
    return *this;
  }
  ~Payload() { reset(); }

  [[nodiscard]] explicit operator bool() const { return kind_ != nullptr; }
  /// T is the type that it was made of.
  template <class T>
  [[nodiscard]] T& as() {
    if constexpr (kIsInside<T>) return *std::launder(reinterpret_cast<T*>(inside_));
    else return *static_cast<T*>(heap());
  }
  void reset() {
    if (const auto* kind = std::exchange(kind_, nullptr); kind && !kind->is_bytes) kind->destroy(*this);
  }

 private:
  struct Kind {
    bool is_bytes;  // moved by a copy of inside_, and not destroyed
    void (*move)(Payload& from, Payload& to) noexcept;  // leaves `from` to be forgotten
    void (*destroy)(Payload& payload) noexcept;
  };
  template <class T>
  static constexpr bool kIsInside = sizeof(T) <= 48 && alignof(T) <= alignof(std::max_align_t) && std::is_nothrow_move_constructible_v<T>;
  template <class T>
  static void move_held(Payload& from, Payload& to) noexcept {
    if constexpr (kIsInside<T>) {
      new (to.inside_) T(std::move(from.as<T>()));
      from.as<T>().~T();
    } else {
      to.heap() = from.heap();
    }
  }
  template <class T>
  static void destroy_held(Payload& payload) noexcept {
    if constexpr (kIsInside<T>) payload.as<T>().~T();
    else delete &payload.as<T>();
  }
  template <class T>
  static constexpr Kind kKindOf = {kIsInside<T> && std::is_trivially_copyable_v<T>, &move_held<T>, &destroy_held<T>};

  [[nodiscard]] void*& heap() { return *reinterpret_cast<void**>(inside_); }
  void take(Payload& other) noexcept {
    kind_ = std::exchange(other.kind_, nullptr);
    if (!kind_) return;
    if (kind_->is_bytes) std::memcpy(inside_, other.inside_, sizeof inside_);
    else kind_->move(other, *this);
  }

  alignas(std::max_align_t) std::byte inside_[48];
  const Kind* kind_ = nullptr;
};

}  // namespace pipestill::graph::detail
