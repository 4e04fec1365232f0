#pragma once
// The format of base models: "User: ...", "Assistant: ...", in words.
#include "ports/renderer/assembly.hpp"

namespace pipestill {

/// Token for token tinker-cookbook's RoleColonRenderer. A message is `{Role}:` and ` {content}\n\n`; a prompt ends in `Assistant:`; an
/// answer ends at the text "\n\nUser:", of which an example's last assistant message learns the part after its own "\n\n". After a last
/// message of another role the cookbook's literal `<UNUSED>` stands in an example, with weight 0. The text of special tokens is recognised
/// in contents.
class RoleColonRenderer final : public AssembledRenderer {
 public:
  using AssembledRenderer::AssembledRenderer;
  [[nodiscard]] static Description describe();

  [[nodiscard]] Stop stop_sequences() const override;
  /// Content: the text up to the first "\n\nUser:", without one leading space and one trailing "\n\n". Malformed if the answer ends neither
  /// there nor with eos, or in both ways, or holds the stop text twice.
  [[nodiscard]] Result<ParsedResponse> parse_response(const std::vector<Token>& tokens) const override;
  [[nodiscard]] std::string name() const override { return "role_colon"; }

 protected:
  [[nodiscard]] Result<RenderedMessage> render(const Message& message) const override;
  [[nodiscard]] Result<EncodedTextChunk> suffix() const override;
};

}  // namespace pipestill
