#pragma once
// The format of small models that are trained here: the vocabulary's own tokens for roles and for the end of an answer.
#include "ports/renderer/assembly.hpp"

namespace pipestill {

/// A message is the special token `<|role|>` and its content, in which the text of special tokens is plain text, so that no content can
/// forge a role; the assistant's is closed by `<|end|>`, another one ends where the next role begins. A prompt ends in `<|assistant|>`.
/// Contents are text; tool calls are not written. bos is the vocabulary's, if it has one.
class RoleTokensRenderer final : public AssembledRenderer {
 public:
  /// Fails if the vocabulary lacks `<|user|>`, `<|assistant|>` or `<|end|>`. A role without a token of its own fails when it is met.
  [[nodiscard]] static Result<std::shared_ptr<const Renderer>> make(std::shared_ptr<const Tokenizer> tokenizer);
  [[nodiscard]] static Description describe();

  [[nodiscard]] Stop stop_sequences() const override { return std::vector<Token>{end_}; }
  /// Content: what stands before `<|end|>`. Without one the answer is malformed; more than one is ErrorCode::backend_failed, since the
  /// sampler should have stopped at the first.
  [[nodiscard]] Result<ParsedResponse> parse_response(const std::vector<Token>& tokens) const override;
  [[nodiscard]] std::string name() const override { return "role_tokens"; }

 protected:
  [[nodiscard]] Result<RenderedMessage> render(const Message& message, const RenderContext& context) const override;

 private:
  RoleTokensRenderer(std::shared_ptr<const Tokenizer> tokenizer, Token end);
  Token end_;
};

}  // namespace pipestill
