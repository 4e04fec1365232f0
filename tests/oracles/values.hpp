#pragma once
// What the oracles' programs share: asynchronous calls whose failure is the program's.
#include <stdexcept>
#include <utility>

#include "nodes/await.hpp"

namespace pipestill::oracles {

/// Throws the error's sentence if there is no value.
template <class T>
T value_of(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return *std::move(result);
}

/// Calls start(completion) and waits for the value.
template <class T, class Start>
T value_of_call(Start start) {
  SystemClock clock;
  return value_of(await<T>(clock, start));
}

}  // namespace pipestill::oracles
