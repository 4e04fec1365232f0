#pragma once
// Llama 3's chat format.
#include "ports/renderer/assembly.hpp"

namespace pipestill {

/// Token for token tinker-cookbook's Llama3Renderer: `<|start_header_id|>role<|end_header_id|>\n\n`, `content<|eot_id|>`, after one
/// `<|begin_of_text|>`. Without the date that Meta's own template puts first. Any role is written as it is; contents are text, in which
/// special tokens are recognised; tool calls are not written.
class Llama3Renderer final : public AssembledRenderer {
 public:
  [[nodiscard]] static Result<std::shared_ptr<const Renderer>> make(std::shared_ptr<const Tokenizer> tokenizer,
                                                                    const RendererOptions& options);
  [[nodiscard]] static Description describe();

  [[nodiscard]] Stop stop_sequences() const override { return std::vector<Token>{end_}; }
  [[nodiscard]] Result<ParsedResponse> parse_response(const std::vector<Token>& tokens) const override;
  [[nodiscard]] std::string name() const override { return "llama3"; }

 protected:
  [[nodiscard]] Result<RenderedMessage> render(const Message& message, const RenderContext& context) const override;

 private:
  Llama3Renderer(std::shared_ptr<const Tokenizer> tokenizer, Token bos, Token end)
      : AssembledRenderer(std::move(tokenizer), {bos}), end_(end) {}
  Token end_;
};

}  // namespace pipestill
