#pragma once
// What the program's exit status says.
#include "graph/base/error.hpp"

namespace pipestill::app {

enum ExitStatus : int {
  kDone = 0,
  kDifferent = 1,      ///< diff or audit found a difference
  kInvalidInput = 2,   ///< the user's input is wrong
  kBackendFailed = 3,  ///< a teacher, a trainer or a store failed
  kInternal = 4,       ///< our own error
  kStopped = 130,      ///< on request
};

[[nodiscard]] constexpr ExitStatus exit_status(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_input:
    case ErrorCode::not_recorded: return kInvalidInput;
    case ErrorCode::backend_failed:
    case ErrorCode::storage_failed: return kBackendFailed;
    case ErrorCode::cancelled: return kStopped;
    case ErrorCode::internal: break;
  }
  return kInternal;
}

/// The error's sentence on stderr, and its exit status.
int report(const Error& error);

}  // namespace pipestill::app
