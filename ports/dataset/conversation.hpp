#pragma once
// From a dataset row to the conversation that it holds.
#include <vector>

#include "graph/base/error.hpp"
#include "ports/dataset/dataset_store.hpp"
#include "ports/renderer/tools.hpp"
#include "ports/types.hpp"

namespace pipestill {

/// The conversation that a model is to continue: `messages` if it is a list, else one user message with the first string among `prompt`,
/// `instruction`, `input`, `text`, `input.problem`, `input.question`. An empty list and an empty string count; other types do not.
/// Messages are read by messages_from_json(), but for keys that it does not know, which are ignored like a row's: content may be parts with
/// thinking among them, and tool calls are kept. `name` and `tool_call_id` count on a tool's message alone, `trainable` not in a prompt.
/// A row with none of these, or with a message of another form, is ErrorCode::invalid_input with the row's place and the path in it.
[[nodiscard]] Result<std::vector<Message>> prompt_conversation(const DatasetRow& row);

/// The conversation that a student learns from: `messages`, of which the last is the assistant's and is the target. Keeps `trainable`, which
/// renderers take with TrainOnWhat::customized and refuse with another mode.
[[nodiscard]] Result<std::vector<Message>> supervised_conversation(const DatasetRow& row);

/// The functions in the row's `tools` (tools_from_json()), which its conversation declares to the model; none where it is missing or null.
[[nodiscard]] Result<std::vector<ToolSpec>> declared_tools(const DatasetRow& row);

}  // namespace pipestill
