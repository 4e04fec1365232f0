#pragma once
// Tools as gpt-oss is told of them: TypeScript-like types, made from JSON schemas.
#include <string>
#include <vector>

#include "ports/renderer/tools.hpp"

namespace pipestill {

/// "# Tools", and a namespace `functions` with a type for each tool; text for text what tinker-cookbook's GptOssRenderer writes, after
/// https://cookbook.openai.com/articles/openai-harmony. What a schema says that has no such type is `any`; titles and
/// descriptions that are no strings are written as JSON.
[[nodiscard]] std::string harmony_namespace(const std::vector<ToolSpec>& tools);

}  // namespace pipestill
