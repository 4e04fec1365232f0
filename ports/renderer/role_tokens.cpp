#include "ports/renderer/role_tokens.hpp"

#include <algorithm>

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
  const Token assistant = *tokenizer->special_token(kAssistantToken), end = *tokenizer->special_token(kEndToken);
  return std::shared_ptr<const Renderer>(new RoleTokensRenderer(std::move(tokenizer), assistant, end));
}

Description RoleTokensRenderer::describe() {
  return {.name = "role_tokens",
          .summary = "special tokens <|role|> before each message and <|end|> after an answer, for models with such a vocabulary"};
}

Result<RenderedMessage> RoleTokensRenderer::render(const Message& message) const {
  const auto role = tokenizer().special_token("<|" + message.role + "|>");
  if (!role)
    return fail(ErrorCode::invalid_input,
                "the tokenizer has no special token <|" + printable(message.role) + "|> for the role \"" + printable(message.role) + "\"");
  auto content = encode(message.content, SpecialText::plain_text);
  if (!content) return fail(std::move(content).error());
  RenderedMessage rendered{.header = {{*role}}, .output = {std::move(*content)}};
  if (message.role == "assistant") rendered.output.push_back({{end_}});
  return rendered;
}

Result<ParsedResponse> RoleTokensRenderer::parse_response(const std::vector<Token>& tokens) const {
  const auto ends = std::count(tokens.begin(), tokens.end(), end_);
  if (ends > 1) {
    return fail(ErrorCode::backend_failed,
                "an answer holds " + std::string(kEndToken) + " " + std::to_string(ends) + " times; the sampler did not stop there");
  }
  const auto length = static_cast<std::size_t>(std::find(tokens.begin(), tokens.end(), end_) - tokens.begin());
  auto content = tokenizer().decode(std::span(tokens).first(length));
  if (!content) return fail(std::move(content).error());
  return ParsedResponse{{"assistant", std::move(*content)}, ends == 1 ? Termination::stop_sequence : Termination::malformed};
}

}  // namespace pipestill
