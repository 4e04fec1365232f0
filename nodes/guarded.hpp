#pragma once
// guarded(): foreign code inside a completion's handler, which must not throw.
#include <exception>
#include <string>
#include <utility>

#include "graph/base/error.hpp"

namespace pipestill {

/// What `f` returns, a Result; an exception of it, as ErrorCode::internal that names `what` threw.
template <class F>
auto guarded(const char* what, F&& f) noexcept -> decltype(f()) {
  try {
    return std::forward<F>(f)();
  } catch (const std::exception& e) {
    return fail(ErrorCode::internal, std::string(what) + " threw an exception: " + e.what());
  } catch (...) {
    return fail(ErrorCode::internal, std::string(what) + " threw an exception of an unknown type");
  }
}

}  // namespace pipestill
