#include "ports/renderer/llama3.hpp"

namespace pipestill {

Result<std::shared_ptr<const Renderer>> Llama3Renderer::make(std::shared_ptr<const Tokenizer> tokenizer, const RendererOptions& options) {
  if (auto known = check_options(options, {}, "llama3"); !known) return fail(std::move(known).error());
  const auto bos = needed_token(*tokenizer, "<|begin_of_text|>", "llama3");
  if (!bos) return fail(bos.error());
  const auto end = needed_token(*tokenizer, "<|eot_id|>", "llama3");
  if (!end) return fail(end.error());
  return std::shared_ptr<const Renderer>(new Llama3Renderer(std::move(tokenizer), *bos, *end));
}

Description Llama3Renderer::describe() { return {.name = "llama3", .summary = "Llama 3's chat format, without its template's dates; leaves tool calls out"}; }

Result<RenderedMessage> Llama3Renderer::render(const Message& message, const RenderContext&) const {
  const auto content = plain_text_of(message, name());
  if (!content) return fail(content.error());
  auto header = encode("<|start_header_id|>" + message.role + "<|end_header_id|>\n\n", SpecialText::recognise);
  if (!header) return fail(std::move(header).error());
  auto output = encode(*content + "<|eot_id|>", SpecialText::recognise);
  if (!output) return fail(std::move(output).error());
  return RenderedMessage{.header = std::move(*header), .output = {std::move(*output)}};
}

Result<ParsedResponse> Llama3Renderer::parse_response(const std::vector<Token>& tokens) const {
  auto answer = text_until(end_, tokens);
  if (!answer) return fail(std::move(answer).error());
  return ParsedResponse{{.role = "assistant", .content = std::move(answer->text)}, answer->termination};
}

}  // namespace pipestill
