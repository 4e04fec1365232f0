#pragma once
// Values that ports exchange, named as in the field (Tinker SDK); tensors are row-major.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace pipestill {

using Token = std::int32_t;

/// Tokens that were encoded together. No merge of a tokenizer crosses the border between two chunks.
struct EncodedTextChunk {
  std::vector<Token> tokens = {};
  bool operator==(const EncodedTextChunk&) const = default;
};

/// What a model reads. Images and audio become further chunk types when a backend needs them.
struct ModelInput {
  std::vector<EncodedTextChunk> chunks = {};

  [[nodiscard]] static ModelInput from_ints(std::vector<Token> tokens);
  [[nodiscard]] std::size_t length() const;           ///< tokens in all chunks
  [[nodiscard]] std::vector<Token> to_ints() const;   ///< all chunks, one behind the other
  bool operator==(const ModelInput&) const = default;
};

/// int64 or float32, by the alternative held; `shape` is (N) or (N, K) and its product is the number of elements.
struct TensorData {
  std::variant<std::vector<std::int64_t>, std::vector<float>> data;
  std::vector<std::int64_t> shape = {};
  bool operator==(const TensorData&) const = default;
};

/// One training example. For cross_entropy `loss_fn_inputs` holds `target_tokens` (int64) and `weights` (float32), both (N) or both
/// (N, K), with N = model_input.length(). (N): position i predicts target_tokens[i]; its loss is -weights[i] log q(target_tokens[i]),
/// q the student's distribution over the whole vocabulary. (N, K), soft targets: its loss is the sum of that over k; what stands
/// twice in a position adds up. An entry of weight 0 counts for nothing, but its token is one of the vocabulary all the same. K is a datum's own.
struct Datum {
  ModelInput model_input;
  std::map<std::string, TensorData> loss_fn_inputs;
  bool operator==(const Datum&) const = default;
};

/// Positions with a weight other than 0: elements of `weights` (N), rows of `weights` (N, K) with such an element.
[[nodiscard]] std::size_t weighted_positions(const TensorData& weights);

/// Where an answer ends: at one of some strings or at one of some tokens, which then are the last tokens of the answer.
using Stop = std::variant<std::monostate, std::vector<std::string>, std::vector<Token>>;

struct SamplingParams {
  int max_tokens = 256;
  double temperature = 1.0;  ///< 0: the most probable token, the lowest id among equals
  int top_k = -1;            ///< -1: all
  double top_p = 1.0;        ///< in (0, 1]
  std::uint64_t seed = 0;    ///< the only source of randomness of this answer
  Stop stop = {};
};

enum class StopReason { stop, length };

/// Natural logarithm of a probability. Empty means missing, which is never a number.
using Logprob = std::optional<float>;

/// An answer. logprobs[i] is the model's log-probability of tokens[i] at temperature 1 over the full vocabulary.
struct SampledSequence {
  std::vector<Token> tokens = {};
  std::vector<Logprob> logprobs = {};
  StopReason stop_reason = StopReason::stop;
  /// Requests that a backend was sent for it; 0: it had been kept. Only observed: what an answer is does not depend on it.
  std::uint32_t attempts = 1;
  bool operator==(const SampledSequence& other) const { return tokens == other.tokens && logprobs == other.logprobs && stop_reason == other.stop_reason; }
};

/// Something that is said.
struct TextPart {
  std::string text = {};
  bool operator==(const TextPart&) const = default;
};
/// Something that was thought before it was said.
struct ThinkingPart {
  std::string thinking = {};
  bool operator==(const ThinkingPart&) const = default;
};
using ContentPart = std::variant<TextPart, ThinkingPart>;

/// What a message says: a text, or a list of parts. A text and a list of that one text are different values, which formats may write
/// differently. Made from either without a cast; by default the empty text.
class MessageContent {
 public:
  MessageContent() = default;
  MessageContent(std::string text) : value_(std::move(text)) {}
  MessageContent(const char* text) : value_(std::string(text)) {}
  MessageContent(std::vector<ContentPart> parts) : value_(std::move(parts)) {}

  /// Null if it is the other kind.
  [[nodiscard]] const std::string* if_text() const { return std::get_if<std::string>(&value_); }
  [[nodiscard]] const std::vector<ContentPart>* if_parts() const { return std::get_if<std::vector<ContentPart>>(&value_); }
  /// The text, or the text parts one behind the other: what is said, without what is thought.
  [[nodiscard]] std::string said() const;
  /// The empty text or the empty list.
  [[nodiscard]] bool is_empty() const;
  [[nodiscard]] std::size_t bytes() const;  ///< of all texts in it

  bool operator==(const MessageContent&) const = default;

 private:
  std::variant<std::string, std::vector<ContentPart>> value_;
};

/// A call that the assistant makes. `arguments` is JSON text, as the model wrote it.
struct ToolCall {
  std::string name = {}, arguments = {};
  std::optional<std::string> id = std::nullopt;
  bool operator==(const ToolCall&) const = default;
};
/// What looked like a call and could not be read as one.
struct UnparsedToolCall {
  std::string raw_text = {}, error = {};
  bool operator==(const UnparsedToolCall&) const = default;
};

/// One turn of a conversation. `role` is free text; renderers know user, assistant, system, tool.
struct Message {
  std::string role = {};
  MessageContent content = {};
  std::vector<ToolCall> tool_calls = {};                   ///< the assistant's
  std::vector<UnparsedToolCall> unparsed_tool_calls = {};  ///< of a parsed answer; no format writes them
  std::optional<bool> trainable = std::nullopt;            ///< for TrainOnWhat::customized alone
  std::optional<std::string> tool_call_id = std::nullopt;  ///< of a tool's message: the call that it answers
  std::optional<std::string> name = std::nullopt;          ///< of a tool's message: the tool
  bool operator==(const Message&) const = default;
};

/// Bytes of all texts in a message, those of its tool calls included.
[[nodiscard]] std::size_t text_bytes(const Message& message);

/// Which model to open, as a client understands it.
struct ModelRef {
  std::string model;            ///< a name, or a directory in the Hugging Face layout
  std::string checkpoint_path;  ///< weights that replace the model's own; empty: none
};

/// What a model's computation has cost so far.
struct ModelUsage {
  std::chrono::nanoseconds compute{};  ///< time that its compute thread worked
  std::uint64_t tokens = 0;            ///< tokens that it computed (sampled or trained on)
};

}  // namespace pipestill
