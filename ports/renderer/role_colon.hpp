#pragma once
// The format of base models: "User: ...", "Assistant: ...", in words.
#include "ports/renderer/assembly.hpp"

namespace pipestill {

/// Token for token tinker-cookbook's RoleColonRenderer. A message is `{Role}:` and ` {content}\n\n`; a prompt ends in `Assistant:`; an
/// answer ends at the text "\n\nUser:", of which an example's last assistant message learns the part after its own "\n\n". After a last
/// message of another role the cookbook's literal `<UNUSED>` stands in an example, weighted as that message. The text of special tokens is
/// recognised in contents. Contents are text; tool calls are not written. bos is the vocabulary's, if it has one.
class RoleColonRenderer final : public AssembledRenderer {
 public:
  explicit RoleColonRenderer(std::shared_ptr<const Tokenizer> tokenizer);
  [[nodiscard]] static Description describe();

  [[nodiscard]] Stop stop_sequences() const override;
  /// Content: the text up to the first "\n\nUser:", without one leading space and one trailing "\n\n". Malformed if the answer ends neither
  /// there nor with eos, or in both ways, or holds the stop text twice.
  [[nodiscard]] Result<ParsedResponse> parse_response(const std::vector<Token>& tokens) const override;
  [[nodiscard]] std::string name() const override { return "role_colon"; }

 protected:
  [[nodiscard]] Result<RenderedMessage> render(const Message& message, const RenderContext& context) const override;
};

}  // namespace pipestill
