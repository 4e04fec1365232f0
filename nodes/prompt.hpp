#pragma once
// From a row's conversation to what a model is asked.
#include <cstddef>
#include <memory>
#include <optional>

#include "nodes/messages.hpp"
#include "nodes/recipe.hpp"
#include "ports/renderer/renderer.hpp"
#include "ports/tokenizer/tokenizer.hpp"

namespace pipestill {

/// Turns rows into prompts. Immutable and thread-safe.
struct PromptRenderer {
  std::shared_ptr<const Renderer> renderer;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::optional<std::size_t> max_prompt_tokens = std::nullopt;
  BadRowPolicy on_bad_row = BadRowPolicy::fail;

  /// The row's conversation, whose last user message keeps at most max_prompt_tokens tokens, with its tools declared, rendered for an answer.
  /// Truncates the conversation in the row itself. An error names the row.
  [[nodiscard]] Result<ModelInput> render(Row& row) const;
  /// Only the truncation: the text becomes decode(first max_prompt_tokens tokens of encode(text)), without added special tokens: as the
  /// Elixir library does it, where tinker-cookbook counts a bos token and leaves its text in the message. A list of one text part is
  /// shortened like a text; another list is refused.
  [[nodiscard]] Result<void> truncate(Row& row) const;
  /// Of a row that could not be rendered: drops it as bad, with the reason, where it is the row's own fault and on_bad_row is skip; else the error comes back.
  [[nodiscard]] Result<void> skip_or_fail(Row& row, Error error) const;
};

/// "<place>: <message>", with the error's own code.
[[nodiscard]] Error at_row(const Row& row, Error error);

}  // namespace pipestill
