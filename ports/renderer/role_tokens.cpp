#include "ports/renderer/role_tokens.hpp"

#include "ports/printable.hpp"
#include "ports/tokenizer/special_tokens.hpp"

namespace pipestill {

Result<std::shared_ptr<const Renderer>> RoleTokensRenderer::make(std::shared_ptr<const Tokenizer> tokenizer) {
  for (const auto text : {kUserToken, kAssistantToken, kEndToken}) {
    if (!tokenizer->special_token(text)) {
      return fail(ErrorCode::invalid_input,
                  "the renderer role_tokens needs the special token " + std::string(text) + ", which the tokenizer lacks");
    }
  }
  const Token end = *tokenizer->special_token(kEndToken);
  return std::shared_ptr<const Renderer>(new RoleTokensRenderer(std::move(tokenizer), end));
}

RoleTokensRenderer::RoleTokensRenderer(std::shared_ptr<const Tokenizer> tokenizer, Token end)
    : AssembledRenderer(tokenizer, bos_of(*tokenizer)), end_(end) {}

Description RoleTokensRenderer::describe() {
  return {.name = "role_tokens",
          .summary = "special tokens <|role|> before each message and <|end|> after an answer, for models with such a vocabulary; leaves tool calls out"};
}

Result<RenderedMessage> RoleTokensRenderer::render(const Message& message, const RenderContext&) const {
  const auto role = tokenizer().special_token("<|" + message.role + "|>");
  if (!role)
    return fail(ErrorCode::invalid_input,
                "the tokenizer has no special token <|" + printable(message.role) + "|> for the role \"" + printable(message.role) + "\"");
  const auto text = plain_text_of(message, name());
  if (!text) return fail(text.error());
  auto content = encode(*text, SpecialText::plain_text);
  if (!content) return fail(std::move(content).error());
  RenderedMessage rendered{.header = EncodedTextChunk{{*role}}, .output = {std::move(*content)}};
  if (message.role == "assistant") rendered.output.push_back({{end_}});
  return rendered;
}

Result<ParsedResponse> RoleTokensRenderer::parse_response(const std::vector<Token>& tokens) const {
  auto answer = text_until(end_, tokens);
  if (!answer) return fail(std::move(answer).error());
  return ParsedResponse{{.role = "assistant", .content = std::move(answer->text)}, answer->termination};
}

}  // namespace pipestill
