#pragma once
// What chat formats have in common: how rendered messages become a prompt or a training example.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ports/renderer/renderer.hpp"

namespace pipestill {

/// The pieces of one message. Weights: a header's tokens never count; an output's do if the message is trained on.
struct RenderedMessage {
  EncodedTextChunk header;
  std::vector<EncodedTextChunk> output = {};
  /// What a model must see to know that the answer is over, where that belongs to the next message; of an example's last message only.
  std::optional<EncodedTextChunk> stop_overlap = std::nullopt;
};

/// A renderer that is a rule for one message. A format's prompt suffix must be its header of an assistant message: then an example's
/// tokens before the trained output are those of the generation prompt, and no further masking of the prompt is needed.
class AssembledRenderer : public Renderer {
 public:
  explicit AssembledRenderer(std::shared_ptr<const Tokenizer> tokenizer) : tokenizer_(std::move(tokenizer)) {}

  /// bos if the vocabulary has one, then each message's header and output, then the suffix. Chunks without tokens are left out.
  [[nodiscard]] Result<ModelInput> build_generation_prompt(const std::vector<Message>& messages) const final;
  /// bos with weight 0, then each message's header (0) and output (1 if trained on), then the last one's stop overlap, weighted as its
  /// output. last_assistant_message trains on the last message if it is the assistant's, and on nothing otherwise. No message:
  /// ErrorCode::invalid_input.
  [[nodiscard]] Result<SupervisedExample> build_supervised_example(const std::vector<Message>& messages, TrainOnWhat train_on) const final;

 protected:
  [[nodiscard]] virtual Result<RenderedMessage> render(const Message& message) const = 0;
  [[nodiscard]] virtual Result<EncodedTextChunk> suffix() const = 0;

  [[nodiscard]] const Tokenizer& tokenizer() const { return *tokenizer_; }
  [[nodiscard]] Result<EncodedTextChunk> encode(std::string_view text, SpecialText special) const;

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
};

}  // namespace pipestill
