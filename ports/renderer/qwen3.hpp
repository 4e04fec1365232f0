#pragma once
// Qwen3's chat formats: the hybrid model that thinks, the same told not to, and the instruct models that do not.
#include "ports/renderer/assembly.hpp"

namespace pipestill {

/// Token for token tinker-cookbook's Qwen3Renderer, Qwen3DisableThinkingRenderer and Qwen3InstructRenderer. A message is
/// `<|im_start|>role\n`, with a line end before it from the second on, then its body and `<|im_end|>`. In bodies the text of special
/// tokens is plain text, that of other added tokens (`<think>`, `<tool_call>`) is recognised.
///
/// Variant::thinking and ::no_thinking write the last answer, and earlier ones unless thinking is stripped from them, with a think block,
/// an empty one where there was no thinking, if the conversation has a user message. ::no_thinking ends prompts in an empty block: an
/// example whose last answer has thinking is refused, and so is one without a user message. ::instruct writes thinking only where a message
/// has it.
///
/// Tool calls are JSON as Python prints it, and a tool's messages are the user's, in a `<tool_response>`. Tools are declared in the system
/// message, in the words that Qwen publishes (https://qwen.readthedocs.io, function calling; the template in Qwen3's tokenizer_config.json).
class Qwen3Renderer final : public AssembledRenderer {
 public:
  enum class Variant { thinking, no_thinking, instruct };

  [[nodiscard]] static Result<std::shared_ptr<const Renderer>> make(Variant variant, std::shared_ptr<const Tokenizer> tokenizer,
                                                                    const RendererOptions& options);
  [[nodiscard]] static Description describe(Variant variant);

  [[nodiscard]] Result<std::vector<Message>> tools_prefix(const std::vector<ToolSpec>& tools, const std::string& system_prompt) const override;
  [[nodiscard]] Stop stop_sequences() const override { return std::vector<Token>{end_}; }
  /// Think blocks become parts and tool calls ToolCalls, in an answer that ends at `<|im_end|>`.
  [[nodiscard]] Result<ParsedResponse> parse_response(const std::vector<Token>& tokens) const override;
  [[nodiscard]] std::string name() const override;
  [[nodiscard]] bool has_extension_property() const override { return variant_ == Variant::instruct || !strips_; }
  [[nodiscard]] bool disables_thinking() const override { return variant_ == Variant::no_thinking; }

 protected:
  [[nodiscard]] Result<RenderedMessage> render(const Message& message, const RenderContext& context) const override;
  [[nodiscard]] Result<std::optional<EncodedTextChunk>> suffix(const Message& message, const RenderContext& context) const override;

 private:
  Qwen3Renderer(Variant variant, std::shared_ptr<const Tokenizer> tokenizer, Token end, bool strips)
      : AssembledRenderer(std::move(tokenizer), {}), variant_(variant), end_(end), strips_(strips) {}
  [[nodiscard]] Result<std::string> body(const Message& message, const RenderContext& context) const;

  Variant variant_;
  Token end_;
  bool strips_;
};

}  // namespace pipestill
