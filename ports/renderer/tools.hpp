#pragma once
// Tools that the assistant may call, and how a conversation declares them to the model.
#include <boost/json/value.hpp>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "graph/base/error.hpp"
#include "ports/renderer/python_json.hpp"
#include "ports/types.hpp"

namespace pipestill {

class Renderer;

inline constexpr std::size_t kMaxTools = 1'000;  ///< of a conversation

/// A function as chat APIs describe it: {"name", "description", "parameters"}. Formats print the object whole, in the order of its keys.
struct ToolSpec {
  PythonJson function;
  std::string name = {};
  std::optional<std::string> description = std::nullopt;
  /// A JSON schema; null if there is none.
  [[nodiscard]] const PythonJson* parameters() const {
    const auto* schema = function.find(U"parameters");
    return schema && schema->is_object() ? schema : nullptr;
  }
  bool operator==(const ToolSpec&) const = default;
};

/// Reads strictly: a list of functions, each as it is or in {"type":"function","function"}; null is an empty list. A function has a `name`, a
/// string that is not empty; `description` is a string and `parameters` an object, or null, where they are given. Numbers that neither 64 bits
/// nor a double's digits can hold are refused, for they would not be written as they stand. All that is ErrorCode::invalid_input: one sentence
/// that begins with `place` and the path in it.
[[nodiscard]] Result<std::vector<ToolSpec>> tools_from_json(const boost::json::value& value, const std::string& place);

/// The conversation that declares `tools`: its first message, if it is the system's, makes room for Renderer::tools_prefix(), which says
/// the same and the tools. Without tools the conversation as it is.
[[nodiscard]] Result<std::vector<Message>> with_tools(const Renderer& renderer, const std::vector<ToolSpec>& tools,
                                                      std::vector<Message> messages);

}  // namespace pipestill
