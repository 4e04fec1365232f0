#include "ports/renderer/role_colon.hpp"

#include "ports/printable.hpp"

namespace pipestill {
namespace {

constexpr std::string_view kStopText = "\n\nUser:";

/// Python's str.capitalize for ASCII.
Result<std::string> capitalized(std::string role) {
  for (std::size_t i = 0; i < role.size(); ++i) {
    char& c = role[i];
    if (static_cast<unsigned char>(c) >= 0x80) {
      return fail(ErrorCode::invalid_input, "role_colon writes roles in ASCII only, and \"" + printable(role) + "\" is not");
    }
    if (i == 0 && c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    if (i > 0 && c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return role;
}

std::size_t count(std::string_view text, std::string_view part) {
  std::size_t n = 0;
  for (auto at = text.find(part); at != std::string_view::npos; at = text.find(part, at + part.size())) ++n;
  return n;
}

}  // namespace

Description RoleColonRenderer::describe() {
  return {.name = "role_colon",
          .summary = "\"User: ...\" and \"Assistant: ...\" in words, for base models; an answer ends at \"\\n\\nUser:\"; leaves tool calls out"};
}

RoleColonRenderer::RoleColonRenderer(std::shared_ptr<const Tokenizer> tokenizer) : AssembledRenderer(tokenizer, bos_of(*tokenizer)) {}

Result<RenderedMessage> RoleColonRenderer::render(const Message& message, const RenderContext&) const {
  const auto role = capitalized(message.role);
  if (!role) return fail(role.error());
  const auto content = plain_text_of(message, name());
  if (!content) return fail(content.error());
  auto header = encode(*role + ":", SpecialText::recognise);
  if (!header) return fail(std::move(header).error());
  auto output = encode(" " + *content + "\n\n", SpecialText::recognise);
  if (!output) return fail(std::move(output).error());
  auto overlap = encode(message.role == "assistant" ? "User:" : "<UNUSED>", SpecialText::recognise);
  if (!overlap) return fail(std::move(overlap).error());
  return RenderedMessage{.header = std::move(*header), .output = {std::move(*output)}, .stop_overlap = std::move(*overlap)};
}

Stop RoleColonRenderer::stop_sequences() const { return std::vector<std::string>{std::string(kStopText)}; }

Result<ParsedResponse> RoleColonRenderer::parse_response(const std::vector<Token>& tokens) const {
  const bool has_eos = !tokens.empty() && tokenizer().eos() == tokens.back();
  const auto decoded = tokenizer().decode(std::span(tokens).first(tokens.size() - (has_eos ? 1 : 0)));
  if (!decoded) return fail(decoded.error());
  const std::string_view text = *decoded;
  const std::size_t stops = count(text, kStopText);
  std::string_view content = text.substr(0, text.find(kStopText));
  if (content.starts_with(' ')) content.remove_prefix(1);
  if (content.ends_with("\n\n")) content.remove_suffix(2);
  Termination termination = Termination::malformed;
  if (stops == 0 && has_eos) termination = Termination::eos;
  if (stops == 1 && !has_eos) termination = Termination::stop_sequence;
  return ParsedResponse{{.role = "assistant", .content = std::string(content)}, termination};
}

}  // namespace pipestill
