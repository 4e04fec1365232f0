#pragma once
// Kimi K2's chat format.
#include "ports/renderer/assembly.hpp"

namespace pipestill {

/// Text for text tinker-cookbook's KimiK2Renderer: `<|im_user|>user<|im_middle|>content<|im_end|>`, without line ends between messages. A
/// conversation without a system message gets Moonshot's. Answers have a think block, an empty one where there was no thinking or where it
/// is stripped: that of answers before the last turn, which begins behind the last answer without tool calls. Special tokens
/// are recognised in contents. Tools are declared as JSON in a message of role tool_declare, which stands first.
class KimiK2Renderer final : public AssembledRenderer {
 public:
  [[nodiscard]] static Result<std::shared_ptr<const Renderer>> make(std::shared_ptr<const Tokenizer> tokenizer,
                                                                    const RendererOptions& options);
  [[nodiscard]] static Description describe();

  /// One example for the two modes of the last answer; otherwise one a user's turn, each with the conversation up to the next one.
  [[nodiscard]] Result<std::vector<SupervisedExample>> build_supervised_examples(const std::vector<Message>& messages,
                                                                                 TrainOnWhat train_on) const override;
  [[nodiscard]] Result<std::vector<Message>> tools_prefix(const std::vector<ToolSpec>& tools, const std::string& system_prompt) const override;
  [[nodiscard]] Stop stop_sequences() const override { return std::vector<Token>{end_}; }
  /// Think blocks become parts and tool calls ToolCalls, in an answer that ends at `<|im_end|>`.
  [[nodiscard]] Result<ParsedResponse> parse_response(const std::vector<Token>& tokens) const override;
  [[nodiscard]] std::string name() const override { return "kimi_k2"; }
  [[nodiscard]] bool has_extension_property() const override { return false; }

 protected:
  [[nodiscard]] Result<RenderedMessage> render(const Message& message, const RenderContext& context) const override;
  [[nodiscard]] std::vector<Message> prepared(const std::vector<Message>& messages) const override;
  [[nodiscard]] std::size_t turn_start(std::span<const Message> messages) const override;

 private:
  KimiK2Renderer(std::shared_ptr<const Tokenizer> tokenizer, Token end, bool strips)
      : AssembledRenderer(std::move(tokenizer), {}), end_(end), strips_(strips) {}
  Token end_;
  bool strips_;
};

}  // namespace pipestill
