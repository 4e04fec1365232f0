#include "nodes/prompt.hpp"

#include <algorithm>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace pipestill {

Error at_row(const Row& row, Error error) {
  // Some errors, such as a dataset's, name the row already.
  if (!error.message.starts_with(row.where)) error.message = row.where + ": " + error.message;
  return error;
}

Result<void> PromptRenderer::truncate(Row& row) const {
  if (!max_prompt_tokens) return {};
  const auto last = std::find_if(row.conversation.rbegin(), row.conversation.rend(), [](const Message& m) { return m.role == "user"; });
  if (last == row.conversation.rend()) return {};
  const auto* content = last->content.if_text();
  const auto* parts = last->content.if_parts();
  if (parts && parts->size() == 1) {
    if (const auto* part = std::get_if<TextPart>(&parts->front())) content = &part->text;
  }
  if (!content) {
    return fail(at_row(row, {ErrorCode::invalid_input, "max_prompt_tokens shortens a text, and the last user message is a list of " +
                                                           std::to_string(parts->size()) + (parts->size() == 1 ? " part of another kind" : " parts")}));
  }
  const auto tokens = tokenizer->encode(*content, SpecialText::recognise);
  if (!tokens) return fail(at_row(row, tokens.error()));
  if (tokens->size() <= *max_prompt_tokens) return {};
  auto text = tokenizer->decode(std::span(*tokens).first(*max_prompt_tokens));
  if (!text) return fail(at_row(row, std::move(text.error())));
  if (parts) {
    last->content = std::vector<ContentPart>{TextPart{*std::move(text)}};
  } else {
    last->content = *std::move(text);
  }
  return {};
}

Result<ModelInput> PromptRenderer::render(Row& row) const {
  if (auto truncated = truncate(row); !truncated) return fail(std::move(truncated.error()));
  const auto conversation = with_tools(*renderer, row.tools, row.conversation);
  if (!conversation) return fail(at_row(row, conversation.error()));
  auto prompt = renderer->build_generation_prompt(*conversation);
  if (!prompt) return fail(at_row(row, std::move(prompt.error())));
  return prompt;
}

Result<void> PromptRenderer::skip_or_fail(Row& row, Error error) const {
  if (on_bad_row == BadRowPolicy::fail || error.code != ErrorCode::invalid_input) return fail(std::move(error));
  row.dropped = DropReason::bad;
  row.why_bad = std::move(error.message);
  return {};
}

}  // namespace pipestill
