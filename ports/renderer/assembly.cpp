#include "ports/renderer/assembly.hpp"

#include <algorithm>
#include <utility>

#include "ports/printable.hpp"

namespace pipestill {
namespace {

bool is_users(const Message& message) { return message.role == "user"; }
bool is_assistants(const Message& message) { return message.role == "assistant"; }

/// Error texts by which refusal_of() knows what kind of mistake it was.
constexpr std::string_view kMarks = "trainable marks: ", kMode = "separate examples: ";

/// Either all messages are marked, and the mode asks for it, or none is.
Result<void> check_marks(std::span<const Message> messages, TrainOnWhat train_on) {
  const bool are_wanted = train_on == TrainOnWhat::customized;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].trainable.has_value() == are_wanted) continue;
    return fail(ErrorCode::invalid_input,
                std::string(kMarks) +
                    (are_wanted ? "train_on_what customized needs `trainable` on every message, and one of role \""
                                : "only train_on_what customized takes `trainable`, which stands on one of role \"") +
                    printable(messages[i].role) + (are_wanted ? "\" has none" : "\""));
  }
  return {};
}

/// Whether the output of message i is trained on. `last_turn`: where the last turn begins.
bool is_trained(std::span<const Message> messages, std::size_t i, std::size_t last_turn, TrainOnWhat train_on) {
  const Message& message = messages[i];
  switch (train_on) {
    case TrainOnWhat::last_assistant_message:
      return i + 1 == messages.size() && is_assistants(message);
    case TrainOnWhat::last_assistant_turn:
      return i >= last_turn && is_assistants(message);
    case TrainOnWhat::all_assistant_messages:
      return is_assistants(message);
    case TrainOnWhat::all_messages:
    case TrainOnWhat::all_tokens:
      return true;
    case TrainOnWhat::all_user_and_system_messages:
      return is_users(message) || message.role == "system";
    case TrainOnWhat::customized:
      return message.trainable.value_or(false);
  }
  return false;
}

std::size_t behind_last_user(std::span<const Message> messages) {
  std::size_t i = messages.size();
  while (i > 0 && !is_users(messages[i - 1])) --i;
  return i;
}

RenderContext context_of(std::span<const Message> messages, std::size_t i, std::size_t last_turn) {
  return {.index = i,
          .is_last = i + 1 >= messages.size(),
          .previous = i > 0 ? &messages[i - 1] : nullptr,
          .has_user = std::ranges::any_of(messages, is_users),
          .in_last_assistant_turn = i >= last_turn};
}

}  // namespace

Result<EncodedTextChunk> AssembledRenderer::encode(std::string_view text, SpecialText special) const {
  return tokenizer_->encode(text, special).map([](std::vector<Token> tokens) { return EncodedTextChunk{std::move(tokens)}; });
}

std::size_t AssembledRenderer::turn_start(std::span<const Message> messages) const { return behind_last_user(messages); }

Result<std::optional<EncodedTextChunk>> AssembledRenderer::suffix(const Message& message, const RenderContext& context) const {
  return render(message, context).map([](RenderedMessage rendered) { return std::move(rendered.header); });
}

std::string AssembledRenderer::prefill(const std::string& given, const RenderContext&) const { return given; }

Result<ModelInput> AssembledRenderer::prompt_of(std::span<const Message> messages, const PromptOptions& options) const {
  ModelInput prompt;
  const auto add = [&](EncodedTextChunk chunk) {
    if (!chunk.tokens.empty()) prompt.chunks.push_back(std::move(chunk));
  };
  add({bos_});
  const std::size_t last_turn = turn_start(messages);
  for (std::size_t i = 0; i < messages.size(); ++i) {
    auto rendered = render(messages[i], context_of(messages, i, last_turn));
    if (!rendered) return fail(std::move(rendered).error());
    if (rendered->header) add(std::move(*rendered->header));
    for (auto& chunk : rendered->output) add(std::move(chunk));
  }
  const auto end = context_of(messages, messages.size(), last_turn);
  auto last = suffix({.role = options.role}, end);
  if (!last) return fail(std::move(last).error());
  if (*last) add(std::move(**last));
  if (const auto text = prefill(options.prefill, end); !text.empty()) {
    auto chunk = encode(text, SpecialText::recognise);
    if (!chunk) return fail(std::move(chunk).error());
    add(std::move(*chunk));
  }
  return prompt;
}

Result<ModelInput> AssembledRenderer::build_generation_prompt(const std::vector<Message>& messages, const PromptOptions& options) const {
  return prompt_of(prepared(messages), options);
}

Result<void> AssembledRenderer::mask_prompt(std::span<const Message> messages, TrainOnWhat train_on, SupervisedExample& example) const {
  std::size_t boundary = messages.size();
  if (train_on == TrainOnWhat::last_assistant_message) boundary = messages.size() - 1;
  if (train_on == TrainOnWhat::last_assistant_turn) boundary = behind_last_user(messages);
  if (boundary >= messages.size() || !is_assistants(messages[boundary])) return {};
  const auto prompt = prompt_of(messages.first(boundary), {});
  if (!prompt) return fail(prompt.error());
  const auto asked = prompt->to_ints(), shown = example.input.to_ints();
  if (asked.size() <= shown.size() && std::equal(asked.begin(), asked.end(), shown.begin())) {
    std::fill_n(example.weights.begin(), asked.size(), 0.0f);
  } else if (disables_thinking()) {
    return fail(ErrorCode::invalid_input, name() +
                                              " asks for answers without thinking, and the last answer of this conversation is not one "
                                              "that follows its prompt: it holds thinking, or its turn more than one message");
  }
  return {};
}

Result<SupervisedExample> AssembledRenderer::build_supervised_example(const std::vector<Message>& messages, TrainOnWhat train_on) const {
  if (messages.empty()) return fail(ErrorCode::invalid_input, "a supervised example needs at least one message");
  const auto all = prepared(messages);
  if (auto marked = check_marks(all, train_on); !marked) return fail(std::move(marked).error());
  const std::size_t last_turn = turn_start(std::span(all).first(all.size() - 1));
  SupervisedExample example;
  const auto add = [&](EncodedTextChunk chunk, bool is_weighted) {
    example.weights.insert(example.weights.end(), chunk.tokens.size(), is_weighted ? 1.0f : 0.0f);
    example.input.chunks.push_back(std::move(chunk));
  };
  if (!bos_.empty()) add({bos_}, false);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto context = context_of(all, i, last_turn);
    auto rendered = render(all[i], context);
    if (!rendered) return fail(std::move(rendered).error());
    const bool is_weighted = is_trained(all, i, last_turn, train_on);
    if (rendered->header) add(std::move(*rendered->header), train_on == TrainOnWhat::all_tokens);
    for (auto& chunk : rendered->output) add(std::move(chunk), is_weighted);
    if (context.is_last && rendered->stop_overlap) add(std::move(*rendered->stop_overlap), is_weighted);
  }
  if (auto masked = mask_prompt(all, train_on, example); !masked) return fail(std::move(masked).error());
  return example;
}

Result<std::vector<SupervisedExample>> AssembledRenderer::build_supervised_examples(const std::vector<Message>& messages,
                                                                                    TrainOnWhat train_on) const {
  std::vector<SupervisedExample> examples;
  const auto add = [&](std::span<const Message> part, TrainOnWhat mode) -> Result<void> {
    auto example = build_supervised_example({part.begin(), part.end()}, mode);
    if (!example) return fail(std::move(example).error());
    examples.push_back(*std::move(example));
    return {};
  };
  if (has_extension_property()) {
    if (auto added = add(messages, train_on); !added) return fail(std::move(added).error());
    return examples;
  }
  std::size_t first = 0;
  switch (train_on) {
    case TrainOnWhat::last_assistant_message:
      first = messages.empty() ? 0 : messages.size() - 1;
      break;
    case TrainOnWhat::last_assistant_turn:
      first = turn_start(messages);
      break;
    case TrainOnWhat::all_assistant_messages:
      break;
    default:
      return fail(ErrorCode::invalid_input, std::string(kMode) + name() + " needs an example of its own for each answer, and " +
                                                name_of(train_on) +
                                                " trains on more than answers; accepted: last_assistant_message, last_assistant_turn, "
                                                "all_assistant_messages");
  }
  for (std::size_t i = first; i < messages.size(); ++i) {
    if (!is_assistants(messages[i])) continue;
    auto added = add(std::span(messages).first(i + 1), TrainOnWhat::last_assistant_message);
    if (!added) return fail(std::move(added).error());
  }
  return examples;
}

Result<AssembledRenderer::StoppedText> AssembledRenderer::text_until(Token stop, std::span<const Token> tokens) const {
  const auto stops = std::count(tokens.begin(), tokens.end(), stop);
  if (stops > 1) {
    const auto text = tokenizer_->decode(std::span(&stop, 1));
    return fail(ErrorCode::backend_failed, "an answer holds " + (text ? printable(*text) : "its stop token") + " " + std::to_string(stops) +
                                               " times; the sampler did not stop there");
  }
  const auto end = std::find(tokens.begin(), tokens.end(), stop);
  auto text = tokenizer_->decode(tokens.first(static_cast<std::size_t>(end - tokens.begin())));
  if (!text) return fail(std::move(text).error());
  return StoppedText{*std::move(text), stops == 1 ? Termination::stop_sequence : Termination::malformed};
}

std::vector<Token> bos_of(const Tokenizer& tokenizer) {
  if (const auto bos = tokenizer.bos()) return {*bos};
  const auto plain = tokenizer.encode("a", SpecialText::recognise), whole = tokenizer.encode_with_special_tokens("a", SpecialText::recognise);
  const bool has_one = plain && whole && whole->size() > plain->size() && std::equal(plain->begin(), plain->end(), whole->begin() + 1);
  return has_one ? std::vector{whole->front()} : std::vector<Token>{};
}

Result<std::string> plain_text_of(const Message& message, std::string_view renderer) {
  if (const auto* text = message.content.if_text()) return *text;
  const auto& parts = *message.content.if_parts();
  if (parts.size() == 1) {
    if (const auto* text = std::get_if<TextPart>(&parts.front())) return text->text;
  }
  return fail(ErrorCode::invalid_input, "the renderer " + std::string(renderer) + " writes a message of role \"" + printable(message.role) +
                                            "\" only from a text, or from a list of one text part; this is a list of " +
                                            std::to_string(parts.size()) + (parts.size() == 1 ? " part of another kind" : " parts"));
}

Result<Token> needed_token(const Tokenizer& tokenizer, std::string_view text, std::string_view renderer) {
  if (const auto token = tokenizer.special_token(text)) return *token;
  // Vocabularies have tokens that are recognised in a text without being special ones.
  const auto tokens = tokenizer.encode(text, SpecialText::recognise);
  if (tokens && tokens->size() == 1) return tokens->front();
  return fail(ErrorCode::invalid_input,
              "the renderer " + std::string(renderer) + " needs the token " + std::string(text) + ", which the tokenizer lacks");
}

Result<void> check_options(const RendererOptions& options, AcceptedOptions accepted, std::string_view renderer) {
  struct Option {
    const char* name;
    bool is_given, is_accepted;
  };
  const Option all[] = {
      {"strip_thinking_from_history", options.strip_thinking_from_history.has_value(), accepted.strip_thinking_from_history},
      {"system_role_as_user", options.system_role_as_user.has_value(), accepted.system_role_as_user},
      {"current_date", options.current_date.has_value(), accepted.current_date}};
  std::string names;
  for (const auto& option : all) {
    if (option.is_accepted) names += (names.empty() ? "" : ", ") + std::string(option.name);
  }
  for (const auto& option : all) {
    if (!option.is_given || option.is_accepted) continue;
    return fail(ErrorCode::invalid_input, "the renderer " + std::string(renderer) + " has no option " + option.name +
                                              (names.empty() ? "; it has none" : "; accepted: " + names));
  }
  return {};
}

RenderRefusal refusal_of(const Error& error) {
  if (error.message.starts_with(kMarks)) return RenderRefusal::marks;
  return error.message.starts_with(kMode) ? RenderRefusal::mode : RenderRefusal::message;
}

}  // namespace pipestill
