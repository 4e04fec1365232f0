#pragma once
// DeepSeek-V3.1's chat format, with thinking and without.
#include "ports/renderer/assembly.hpp"

namespace pipestill {

/// Token for token tinker-cookbook's DeepSeekV3DisableThinkingRenderer and DeepSeekV3ThinkingRenderer. `<｜User｜>content`,
/// `<｜Assistant｜>content<｜end▁of▁sentence｜>` (which an empty answer does not get), a first system message with nothing around it, and
/// no line ends anywhere. The answer that follows a tool's result has no header. Other roles, and later system messages unless
/// system_role_as_user, are refused.
///
/// Variant::no_thinking (deepseekv3) leaves all thinking out and closes a think block in the header; Variant::thinking opens one in the
/// prompt, writes an empty one into a last answer without thinking, and closes one in the header of earlier answers when thinking is
/// stripped. Tools are declared in the system message, in the words of DeepSeek-V3.1's model card, which has them without thinking only
/// (the reference lets ::thinking declare them too; here that is refused).
class DeepSeekV3Renderer final : public AssembledRenderer {
 public:
  enum class Variant { no_thinking, thinking };

  [[nodiscard]] static Result<std::shared_ptr<const Renderer>> make(Variant variant, std::shared_ptr<const Tokenizer> tokenizer,
                                                                    const RendererOptions& options);
  [[nodiscard]] static Description describe(Variant variant);

  /// Every tool needs a description and parameters.
  [[nodiscard]] Result<std::vector<Message>> tools_prefix(const std::vector<ToolSpec>& tools, const std::string& system_prompt) const override;
  [[nodiscard]] Stop stop_sequences() const override { return std::vector<Token>{marks_.end}; }
  /// Tool calls and think blocks are read in an answer that ends at `<｜end▁of▁sentence｜>`. Variant::thinking supplies the opening
  /// `<think>` that stands in the prompt.
  [[nodiscard]] Result<ParsedResponse> parse_response(const std::vector<Token>& tokens) const override;
  [[nodiscard]] std::string name() const override;
  [[nodiscard]] bool has_extension_property() const override { return variant_ == Variant::no_thinking || !strips_; }

 protected:
  [[nodiscard]] Result<RenderedMessage> render(const Message& message, const RenderContext& context) const override;
  [[nodiscard]] std::string prefill(const std::string& given, const RenderContext& context) const override;

 private:
  struct Marks {
    Token bos, end, think_open, think_close;
  };
  DeepSeekV3Renderer(Variant variant, std::shared_ptr<const Tokenizer> tokenizer, Marks marks, bool strips, bool system_as_user)
      : AssembledRenderer(std::move(tokenizer), {marks.bos}),
        variant_(variant),
        marks_(marks),
        strips_(strips),
        system_as_user_(system_as_user) {}
  [[nodiscard]] std::string answer(const Message& message, const RenderContext& context) const;

  Variant variant_;
  Marks marks_;
  bool strips_, system_as_user_;
};

}  // namespace pipestill
