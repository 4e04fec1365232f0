#pragma once
// gpt-oss's chat format, Harmony (https://cookbook.openai.com/articles/openai-harmony).
#include "ports/renderer/assembly.hpp"

namespace pipestill {

/// Token for token tinker-cookbook's GptOssRenderer: `<|start|>role`, `<|message|>content<|end|>`. An answer's thinking is a message of the
/// channel analysis, what it says one of the channel final, which `<|return|>` ends as the last of all and `<|end|>` elsewhere; tool
/// calls are messages of the channel commentary to `functions.NAME`, ended by `<|call|>`. A caller's system message is the developer's
/// instructions. Special tokens are recognised in contents.
///
/// Effort::low, ::medium and ::high put OpenAI's system message before a conversation, with the date of the option current_date, which
/// they need; ::none does not. That message is one of the conversation's for TrainOnWhat: it counts in all_messages, and customized, which
/// asks for marks that it cannot have, is refused. Tools are declared in a developer message, as a namespace of functions (harmony_tools.hpp),
/// behind a system message that says where calls go.
class GptOssRenderer final : public AssembledRenderer {
 public:
  enum class Effort { none, low, medium, high };

  [[nodiscard]] static Result<std::shared_ptr<const Renderer>> make(Effort effort, std::shared_ptr<const Tokenizer> tokenizer,
                                                                    const RendererOptions& options);
  [[nodiscard]] static Description describe(Effort effort);

  [[nodiscard]] Result<std::vector<Message>> tools_prefix(const std::vector<ToolSpec>& tools, const std::string& system_prompt) const override;
  [[nodiscard]] Stop stop_sequences() const override { return std::vector<Token>{return_, call_}; }
  /// The messages of an answer that ends at `<|return|>` or `<|call|>` become parts and tool calls, by channel and recipient; an answer
  /// that has none stays one text.
  [[nodiscard]] Result<ParsedResponse> parse_response(const std::vector<Token>& tokens) const override;
  [[nodiscard]] std::string name() const override;
  [[nodiscard]] bool has_extension_property() const override { return false; }

 protected:
  [[nodiscard]] Result<RenderedMessage> render(const Message& message, const RenderContext& context) const override;
  [[nodiscard]] std::vector<Message> prepared(const std::vector<Message>& messages) const override;

 private:
  GptOssRenderer(Effort effort, std::shared_ptr<const Tokenizer> tokenizer, Token return_token, Token call_token, std::string date)
      : AssembledRenderer(std::move(tokenizer), {}), effort_(effort), return_(return_token), call_(call_token), date_(std::move(date)) {}

  Effort effort_;
  Token return_, call_;
  std::string date_;
};

}  // namespace pipestill
