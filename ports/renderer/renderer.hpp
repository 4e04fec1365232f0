#pragma once
// The renderer port: conversations to what a model reads, and answers back to messages.
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/base/description.hpp"
#include "graph/base/error.hpp"
#include "ports/tokenizer/tokenizer.hpp"
#include "ports/types.hpp"

namespace pipestill {

struct ToolSpec;  // tools.hpp

/// Which tokens of a supervised example have weight 1 (names as in tinker-cookbook). A turn is what follows the last user message.
enum class TrainOnWhat {
  last_assistant_message,        ///< the last message's output, if it is the assistant's
  last_assistant_turn,           ///< the assistant's outputs in the last turn
  all_assistant_messages,        ///< every output of the assistant
  all_messages,                  ///< every output
  all_tokens,                    ///< every output and every header
  all_user_and_system_messages,  ///< every output of these two
  customized,                    ///< the outputs of messages that are marked trainable; every message must be marked, true or false
};
[[nodiscard]] const char* name_of(TrainOnWhat mode);
/// Unknown: ErrorCode::invalid_input with the accepted names.
[[nodiscard]] Result<TrainOnWhat> parse_train_on_what(std::string_view name);

/// weights[i], 0 or 1, belongs to token i of `input`.
struct SupervisedExample {
  ModelInput input;
  std::vector<float> weights;
};

/// How an answer ended: at the format's stop, at the vocabulary's end of text, or at neither (or at both).
enum class Termination { stop_sequence, eos, malformed };
[[nodiscard]] const char* name_of(Termination termination);
struct ParsedResponse {
  Message message;
  Termination termination = Termination::malformed;
};

/// What a generation prompt ends with: the header of `role`, then `prefill` in the tokens of its own text.
struct PromptOptions {
  std::string role = "assistant";
  std::string prefill = {};
};

/// What some formats leave open. A format refuses an option that it does not have.
struct RendererOptions {
  /// Whether thinking in earlier answers is left out, as models that think are trained (default: yes).
  std::optional<bool> strip_thinking_from_history = std::nullopt;
  /// Whether system messages behind the first are written as the user's (default: refused).
  std::optional<bool> system_role_as_user = std::nullopt;
  /// The date that a system prompt says, YYYY-MM-DD. No default: the date of the day would make runs differ from one day to the next.
  std::optional<std::string> current_date = std::nullopt;

  bool operator==(const RendererOptions&) const = default;
};

/// Immutable and thread-safe. Headers, outputs, suffix and prefill are encoded apart from each other, without added special tokens.
/// A conversation that a format cannot express is ErrorCode::invalid_input; an answer that no sampler should have given (its stop token
/// twice) is ErrorCode::backend_failed.
class Renderer {
 public:
  virtual ~Renderer() = default;

  /// By name, one of describe_all(), or the alias deepseekv3_disable_thinking. Fails if the tokenizer lacks what the format needs.
  [[nodiscard]] static Result<std::shared_ptr<const Renderer>> make(std::string_view name, std::shared_ptr<const Tokenizer> tokenizer,
                                                                    const RendererOptions& options = {});
  [[nodiscard]] static std::vector<Description> describe_all();

  [[nodiscard]] virtual Result<ModelInput> build_generation_prompt(const std::vector<Message>& messages,
                                                                   const PromptOptions& options = {}) const = 0;
  [[nodiscard]] virtual Result<SupervisedExample> build_supervised_example(const std::vector<Message>& messages,
                                                                           TrainOnWhat train_on) const = 0;
  /// As many examples as it takes to train on what `train_on` names: one where every answer of a conversation stands in it as the model
  /// produced it (has_extension_property()), else one an answer. By default the one of build_supervised_example().
  [[nodiscard]] virtual Result<std::vector<SupervisedExample>> build_supervised_examples(
      const std::vector<Message>& messages, TrainOnWhat train_on = TrainOnWhat::last_assistant_turn) const;
  /// The messages that a conversation begins with which declares `tools`, of which there is at least one, and says `system_prompt`, where it is not empty
  /// (create_conversation_prefix_with_tools in tinker-cookbook; with_tools() in tools.hpp applies it). By default
  /// ErrorCode::invalid_input: the format has no way to declare tools.
  [[nodiscard]] virtual Result<std::vector<Message>> tools_prefix(const std::vector<ToolSpec>& tools, const std::string& system_prompt) const;
  [[nodiscard]] virtual Stop stop_sequences() const = 0;
  [[nodiscard]] virtual Result<ParsedResponse> parse_response(const std::vector<Token>& tokens) const = 0;
  [[nodiscard]] virtual std::string name() const = 0;

  /// Whether a prompt, the answer to it and the next question are the beginning of the next prompt.
  [[nodiscard]] virtual bool has_extension_property() const { return true; }
  /// Whether prompts tell the model not to think, so that an answer with thinking is refused as an example.
  [[nodiscard]] virtual bool disables_thinking() const { return false; }
  /// What every prompt begins with, before its first message.
  [[nodiscard]] virtual std::vector<Token> bos_tokens() const { return {}; }
};

/// What kind of mistake a refused call was: a message that the format cannot express; marks that do not fit the mode (Message::trainable);
/// or a mode for which there are no separate examples.
enum class RenderRefusal { message, marks, mode };
[[nodiscard]] RenderRefusal refusal_of(const Error& error);

}  // namespace pipestill
