#pragma once
// What a stage author writes: a function of a message. The concepts say which functions are stages.
#include <concepts>
#include <cstddef>
#include <optional>
#include <type_traits>

#include "graph/base/completion.hpp"
#include "graph/base/description.hpp"
#include "graph/base/error.hpp"
#include "graph/message.hpp"

namespace pipestill::graph {

/// A stage meets the batches in any order, at most `limit` of them at once.
struct AnyOrder {
  std::size_t limit = 1;
};
/// A stage begins the batches in sequence order, one call after the other, at most `limit` of them at once.
/// One that returns its result has limit 1.
struct InSequence {
  std::size_t limit = 1;
};
constexpr AnyOrder any_order(std::size_t limit) { return {limit}; }
constexpr InSequence in_sequence(std::size_t limit = 1) { return {limit}; }

namespace detail {
template <class R>
struct UnwrapResult { using type = R; };
template <class T>
struct UnwrapResult<Result<T>> { using type = T; };
template <class R>
struct UnwrapOptional;
template <class T>
struct UnwrapOptional<std::optional<T>> { using type = T; };
}  // namespace detail

/// f(Context&) -> std::optional<Out> or Result<std::optional<Out>>: the next message, or nothing at the end.
/// Called by one thread at a time; after the end it is not called again. It must not block on anything slower than a file.
template <class F>
concept SourceStage = requires { typename detail::UnwrapOptional<typename detail::UnwrapResult<std::invoke_result_t<F&, Context&>>::type>::type; };
template <SourceStage F>
using SourceOutput = typename detail::UnwrapOptional<typename detail::UnwrapResult<std::invoke_result_t<F&, Context&>>::type>::type;

/// f(In, Context&) -> Out or Result<Out>. It runs on a thread of the engine and must not block.
/// With a limit above 1 it is called by several threads at once.
template <class F, class In>
concept CallStage = std::invocable<F&, In&&, Context&> && !std::is_void_v<std::invoke_result_t<F&, In&&, Context&>>;
template <class F, class In>
using CallOutput = typename detail::UnwrapResult<std::invoke_result_t<F&, In&&, Context&>>::type;

/// f(In, Context&, Completion<F::Output>): starts the work and returns at once; the completion delivers later, from any thread.
/// The batch moves on when the call has returned and the completion was called: its context, and with the last batch the whole run, may then be gone. Copy from it
/// first what is needed later. What the call throws outranks what the completion says.
/// On a stop request (Context::stop) it completes promptly, with ErrorCode::cancelled unless it already had its result.
template <class F, class In>
concept StartStage = requires { typename F::Output; } && std::invocable<F&, In&&, Context&, Completion<typename F::Output>>;

/// f(In, Context&) -> void or Result<void>: the end of the line.
template <class F, class In>
concept SinkStage = std::invocable<F&, In&&, Context&> && (std::is_void_v<std::invoke_result_t<F&, In&&, Context&>> ||
                                                           std::same_as<std::invoke_result_t<F&, In&&, Context&>, Result<void>>);

/// A stage that describes itself.
template <class F>
concept DescribedStage = requires { { F::describe() } -> std::same_as<Description>; };

}  // namespace pipestill::graph
