#pragma once
// guarded(): foreign code inside a completion's handler, which must not throw.
#include <string>
#include <utility>

#include "graph/base/error.hpp"

namespace pipestill {

/// What `f` returns, a Result; an exception of it, as ErrorCode::internal that names `what` threw.
template <class F>
auto guarded(const char* what, F&& f) noexcept -> decltype(f()) {
  try {
    return std::forward<F>(f)();
  } catch (...) {
    return fail(thrown_error(std::string(what) + " threw an exception"));
  }
}

}  // namespace pipestill
