#pragma once
// What chat formats have in common: how rendered messages become a prompt or training examples.
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ports/renderer/renderer.hpp"

namespace pipestill {

/// Where a message stands.
struct RenderContext {
  std::size_t index = 0;
  bool is_last = false;  ///< the very last message, in a prompt too: one that ends in an answer shows it as the model produced it
  const Message* previous = nullptr;
  bool has_user = false;  ///< some message of the conversation is the user's
  bool in_last_assistant_turn = false;
};

/// The pieces of one message. Weights: a header's tokens count in TrainOnWhat::all_tokens alone, an output's if the message is trained on.
struct RenderedMessage {
  std::optional<EncodedTextChunk> header = std::nullopt;
  std::vector<EncodedTextChunk> output = {};
  /// What a model must see to know that the answer is over, where that belongs to the next message; of an example's last message only.
  std::optional<EncodedTextChunk> stop_overlap = std::nullopt;
};

/// A format that is a rule for one message. Rules of assembly: tinker-cookbook's renderers/base.py (commit 9dfcc3a2).
class AssembledRenderer : public Renderer {
 public:
  /// bos tokens, then each message's header and output, then suffix and prefill. Chunks without tokens are left out.
  [[nodiscard]] Result<ModelInput> build_generation_prompt(const std::vector<Message>& messages, const PromptOptions& options) const final;
  /// bos tokens with weight 0, then each message's header and output, weighted by mode, then the last one's stop overlap, weighted as its
  /// output. Chunks without tokens stay. In the two modes of the last answer nothing is trained that the prompt for that answer holds
  /// already. No message: ErrorCode::invalid_input.
  [[nodiscard]] Result<SupervisedExample> build_supervised_example(const std::vector<Message>& messages, TrainOnWhat train_on) const final;
  [[nodiscard]] Result<std::vector<SupervisedExample>> build_supervised_examples(const std::vector<Message>& messages,
                                                                                 TrainOnWhat train_on) const override;
  [[nodiscard]] std::vector<Token> bos_tokens() const final { return bos_; }

 protected:
  AssembledRenderer(std::shared_ptr<const Tokenizer> tokenizer, std::vector<Token> bos)
      : tokenizer_(std::move(tokenizer)), bos_(std::move(bos)) {}

  [[nodiscard]] virtual Result<RenderedMessage> render(const Message& message, const RenderContext& context) const = 0;
  /// The conversation as it is written, with what a format puts before it.
  [[nodiscard]] virtual std::vector<Message> prepared(const std::vector<Message>& messages) const { return messages; }
  /// The index of the first message of the last turn. By default that behind the last user message.
  [[nodiscard]] virtual std::size_t turn_start(std::span<const Message> messages) const;
  /// What a prompt ends with, for a message of that role whose content is still to come; by default that message's header.
  [[nodiscard]] virtual Result<std::optional<EncodedTextChunk>> suffix(const Message& message, const RenderContext& context) const;
  /// The text that the answer is made to begin with; by default the caller's.
  [[nodiscard]] virtual std::string prefill(const std::string& given, const RenderContext& context) const;

  [[nodiscard]] const Tokenizer& tokenizer() const { return *tokenizer_; }
  [[nodiscard]] Result<EncodedTextChunk> encode(std::string_view text, SpecialText special) const;
  /// The answer's text up to `stop`, and how it ended. Without a stop: all of it, malformed. Twice: ErrorCode::backend_failed.
  struct StoppedText {
    std::string text;
    Termination termination;
  };
  [[nodiscard]] Result<StoppedText> text_until(Token stop, std::span<const Token> tokens) const;

 private:
  [[nodiscard]] Result<ModelInput> prompt_of(std::span<const Message> prepared, const PromptOptions& options) const;
  [[nodiscard]] Result<void> mask_prompt(std::span<const Message> prepared, TrainOnWhat train_on, SupervisedExample& example) const;

  std::shared_ptr<const Tokenizer> tokenizer_;
  std::vector<Token> bos_;
};

/// The vocabulary's bos token; where no file names one, the token that the vocabulary's file puts before a text, if it does.
[[nodiscard]] std::vector<Token> bos_of(const Tokenizer& tokenizer);

/// Content that must be a text, or a list of one text part: else ErrorCode::invalid_input, naming the renderer.
[[nodiscard]] Result<std::string> plain_text_of(const Message& message, std::string_view renderer);

/// The one token that `text` is, or ErrorCode::invalid_input: "the renderer R needs the token T, which the tokenizer lacks".
[[nodiscard]] Result<Token> needed_token(const Tokenizer& tokenizer, std::string_view text, std::string_view renderer);

/// Refuses options that `renderer` does not have.
struct AcceptedOptions {
  bool strip_thinking_from_history = false, system_role_as_user = false, current_date = false;
};
[[nodiscard]] Result<void> check_options(const RendererOptions& options, AcceptedOptions accepted, std::string_view renderer);

}  // namespace pipestill
