#pragma once
// Messages as JSON, in the form of chat APIs: {"role":"user","content":"..."}.
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstddef>
#include <string>
#include <vector>

#include "graph/base/error.hpp"
#include "ports/types.hpp"

namespace pipestill {

inline constexpr std::size_t kMaxMessages = 10'000;        ///< of a conversation
inline constexpr std::size_t kMaxMessageElements = 1'000;  ///< parts, tool calls or unparsed tool calls of a message

/// What becomes of a message's keys that are not listed below; those of its parts and calls are refused either way.
enum class OtherKeys { refuse, ignore };

/// Reads strictly. Keys: `role` and `content`, which a message must have, `tool_calls`, `unparsed_tool_calls`, `trainable`, `tool_call_id`
/// and `name`; null stands for a missing one of the last five, and beside tool calls for the empty content. `content` is a string or a list
/// of {"type":"text","text"} and {"type":"thinking","thinking"}; a tool call is {"type":"function","id","function":{"name","arguments"}},
/// whose arguments are JSON text in a string. Anything else is ErrorCode::invalid_input: one sentence that begins with `place` and the path
/// in it.
[[nodiscard]] Result<Message> message_from_json(const boost::json::value& value, const std::string& place,
                                                OtherKeys other_keys = OtherKeys::refuse);
/// A list of them.
[[nodiscard]] Result<std::vector<Message>> messages_from_json(const boost::json::value& value, const std::string& place,
                                                              OtherKeys other_keys = OtherKeys::refuse);

/// What message_from_json() reads; only what is there is written, but a tool call always has its `id`, null if it has none.
[[nodiscard]] boost::json::object message_to_json(const Message& message);

}  // namespace pipestill
