#pragma once
// The renderer port: conversations to what a model reads, and answers back to messages.
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "graph/base/description.hpp"
#include "graph/base/error.hpp"
#include "ports/tokenizer/tokenizer.hpp"
#include "ports/types.hpp"

namespace pipestill {

/// Which tokens of a supervised example have weight 1 (names as in tinker-cookbook).
enum class TrainOnWhat { last_assistant_message, all_assistant_messages };

/// weights[i] belongs to token i of `input`.
struct SupervisedExample {
  ModelInput input;
  std::vector<float> weights;
};

enum class Termination { stop_sequence, eos, malformed };
struct ParsedResponse {
  Message message;
  Termination termination = Termination::malformed;
};

/// Immutable and thread-safe. Headers and contents are encoded apart from each other, without added special tokens.
class Renderer {
 public:
  virtual ~Renderer() = default;

  /// "role_colon" or "role_tokens". Fails if the tokenizer lacks what the format needs.
  [[nodiscard]] static Result<std::shared_ptr<const Renderer>> make(std::string_view name, std::shared_ptr<const Tokenizer> tokenizer);
  [[nodiscard]] static std::vector<Description> describe_all();

  [[nodiscard]] virtual Result<ModelInput> build_generation_prompt(const std::vector<Message>& messages) const = 0;
  [[nodiscard]] virtual Result<SupervisedExample> build_supervised_example(const std::vector<Message>& messages, TrainOnWhat train_on) const = 0;
  [[nodiscard]] virtual Stop stop_sequences() const = 0;
  [[nodiscard]] virtual Result<ParsedResponse> parse_response(const std::vector<Token>& tokens) const = 0;
  [[nodiscard]] virtual std::string name() const = 0;
};

}  // namespace pipestill
