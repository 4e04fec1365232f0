#pragma once
// Error and Result<T>: how every folder reports an expected failure. Exceptions are for programmer errors; a stage's exception becomes an Error.
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace pipestill {

/// Who has to act. The program maps it to its exit status (app/exit_status.hpp).
enum class ErrorCode {
  invalid_input,   ///< the user's recipe, file or argument is wrong
  not_recorded,    ///< a run that asks recorded answers alone has none to a request: another run is replayed than was recorded, or not all of it was; no policy for rows applies
  backend_failed,  ///< a teacher or a trainer failed
  storage_failed,  ///< a disk or a database failed that the run's own promises rest on: no policy for rows applies
  cancelled,       ///< the work was no longer wanted
  internal,        ///< a promise of ours is broken
};

/// What went wrong. `message` is one sentence: what is wrong, where, what would be accepted. It never holds a secret.
struct [[nodiscard]] Error {
  ErrorCode code = ErrorCode::internal;
  std::string message;
};

template <class T>
using Result = tl::expected<T, Error>;

/// `return fail(ErrorCode::invalid_input, "...")` from any function that returns a Result.
[[nodiscard]] inline tl::unexpected<Error> fail(ErrorCode code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}
[[nodiscard]] inline tl::unexpected<Error> fail(Error error) { return tl::unexpected<Error>(std::move(error)); }

/// What is being handled, inside a catch block, as ErrorCode::internal: "<what>: ..." if it says what it is.
[[nodiscard]] Error thrown_error(std::string_view what = "unexpected exception");

}  // namespace pipestill
