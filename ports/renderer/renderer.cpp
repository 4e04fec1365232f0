#include "ports/renderer/renderer.hpp"

#include "ports/printable.hpp"
#include "ports/renderer/role_colon.hpp"
#include "ports/renderer/role_tokens.hpp"

namespace pipestill {

Result<std::shared_ptr<const Renderer>> Renderer::make(std::string_view name, std::shared_ptr<const Tokenizer> tokenizer) {
  if (name == "role_colon") return std::make_shared<RoleColonRenderer>(std::move(tokenizer));
  if (name == "role_tokens") return RoleTokensRenderer::make(std::move(tokenizer));
  return fail(ErrorCode::invalid_input, "there is no renderer \"" + printable(name) + "\"; accepted: role_colon, role_tokens");
}

std::vector<Description> Renderer::describe_all() { return {RoleColonRenderer::describe(), RoleTokensRenderer::describe()}; }

}  // namespace pipestill
