#include "nodes/batch_bytes.hpp"

#include <algorithm>
#include <variant>

namespace pipestill {
namespace {

// A position of a datum: a token of the input, a target, a weight, and on-policy a log-probability and an advantage.
constexpr std::uint64_t kDatumPosition = sizeof(Token) + sizeof(std::int64_t) + 3 * sizeof(float);
// A token of an answer: itself, its log-probability, and the teacher's of it.
constexpr std::uint64_t kAnswerToken = sizeof(Token) + sizeof(Logprob) + sizeof(float);
// What a renderer puts around a message, around a tool call or a declared tool, before a conversation (a system message of the format's own) and
// around the tools that it declares, at most.
constexpr std::uint64_t kTokensAroundMessage = 32, kTokensAroundCall = 64, kTokensBefore = 512, kTokensAroundTools = 1024;
// What JSON text grows by when it is printed anew: \u00e9 for two bytes, 1000000000000000.0 for 1e15.
constexpr std::uint64_t kMostJsonGrowth = 6;
// And when it is held as values: a number of one digit is one, and so is an empty string.
constexpr std::uint64_t kMostParsedGrowth = sizeof(PythonJson::Members::value_type);

std::uint64_t text_bytes(const Row& row) {
  std::uint64_t bytes = row.where.size() + row.teacher.size() + row.renderer.size();
  for (const auto& message : row.conversation) bytes += sizeof(Message) + text_bytes(message);
  for (const auto& tool : row.tools) bytes += sizeof(ToolSpec) + kMostParsedGrowth * tool.function.dumps().size();
  return bytes;
}

/// No tokenizer makes more tokens than there are bytes. max_prompt_tokens shortens the last user message alone; what it saves there is not
/// counted on, for the text that is left may be written in more tokens than it was cut from.
std::uint64_t most_prompt_tokens(const Row& row) {
  std::uint64_t tokens = kTokensBefore;
  for (const auto& message : row.conversation) {
    tokens += kTokensAroundMessage + text_bytes(message);
    for (const auto& call : message.tool_calls) tokens += kTokensAroundCall + kMostJsonGrowth * (call.name.size() + call.arguments.size());
  }
  if (!row.tools.empty()) tokens += kTokensAroundTools;
  // A declaration writes a tool's JSON anew, or as types with a comment for each key: no longer than that.
  for (const auto& tool : row.tools) tokens += kTokensAroundCall + kMostJsonGrowth * tool.function.dumps().size();
  return tokens;
}

}  // namespace

std::uint64_t most_bytes(const Recipe& recipe, const PromptBatch& batch) {
  std::uint64_t bytes = sizeof(SampledBatch);
  for (const auto& row : batch.rows) {
    bytes += sizeof(SampledRow) + text_bytes(row);
    if (row.dropped) continue;
    const auto prompt = most_prompt_tokens(row);
    const auto answer = recipe.teacher ? static_cast<std::uint64_t>(recipe.teacher_of(row.dataset).max_tokens) : 0;
    bytes += prompt * sizeof(Token) + answer * kAnswerToken + std::min<std::uint64_t>(prompt + answer, recipe.training.max_length) * kDatumPosition;
  }
  return bytes;
}

std::uint64_t most_bytes(const SampledBatch& batch) {
  std::uint64_t bytes = sizeof(SampledBatch);
  for (const auto& row : batch.rows) {
    bytes += sizeof(SampledRow) + text_bytes(row.row);
    if (row.row.dropped) continue;
    const auto prompt = row.prompt.length(), answer = row.answer.tokens.size();
    bytes += prompt * sizeof(Token) + answer * kAnswerToken + (prompt + answer) * kDatumPosition;
  }
  return bytes;
}

std::uint64_t bytes_of(const DatumBatch& batch) {
  std::uint64_t bytes = sizeof(DatumBatch);
  for (const auto& row : batch.rows) {
    bytes += sizeof(DatumRow) + text_bytes(row.row);
    if (!row.datum) continue;
    bytes += row.datum->model_input.length() * sizeof(Token);
    for (const auto& [name, tensor] : row.datum->loss_fn_inputs) {
      bytes += std::visit([](const auto& data) { return data.size() * sizeof(data[0]); }, tensor.data);
    }
  }
  return bytes;
}

}  // namespace pipestill
