#include "ports/renderer/assembly.hpp"

#include <utility>

namespace pipestill {

Result<EncodedTextChunk> AssembledRenderer::encode(std::string_view text, SpecialText special) const {
  return tokenizer_->encode(text, special).map([](std::vector<Token> tokens) { return EncodedTextChunk{std::move(tokens)}; });
}

Result<ModelInput> AssembledRenderer::build_generation_prompt(const std::vector<Message>& messages) const {
  ModelInput prompt;
  const auto add = [&](EncodedTextChunk chunk) {
    if (!chunk.tokens.empty()) prompt.chunks.push_back(std::move(chunk));
  };
  if (const auto bos = tokenizer_->bos()) add({{*bos}});
  for (const Message& message : messages) {
    auto rendered = render(message);
    if (!rendered) return fail(std::move(rendered).error());
    add(std::move(rendered->header));
    for (auto& chunk : rendered->output) add(std::move(chunk));
  }
  auto last = suffix();
  if (!last) return fail(std::move(last).error());
  add(std::move(*last));
  return prompt;
}

Result<SupervisedExample> AssembledRenderer::build_supervised_example(const std::vector<Message>& messages, TrainOnWhat train_on) const {
  if (messages.empty()) return fail(ErrorCode::invalid_input, "a supervised example needs at least one message");
  SupervisedExample example;
  const auto add = [&](EncodedTextChunk chunk, float weight) {
    example.weights.insert(example.weights.end(), chunk.tokens.size(), weight);
    example.input.chunks.push_back(std::move(chunk));
  };
  if (const auto bos = tokenizer_->bos()) add({{*bos}}, 0);
  for (std::size_t i = 0; i < messages.size(); ++i) {
    auto rendered = render(messages[i]);
    if (!rendered) return fail(std::move(rendered).error());
    const bool is_last = i + 1 == messages.size();
    const bool is_trained = messages[i].role == "assistant" && (is_last || train_on == TrainOnWhat::all_assistant_messages);
    const float weight = is_trained ? 1 : 0;
    add(std::move(rendered->header), 0);
    for (auto& chunk : rendered->output) add(std::move(chunk), weight);
    if (is_last && rendered->stop_overlap) add(std::move(*rendered->stop_overlap), weight);
  }
  return example;
}

}  // namespace pipestill
