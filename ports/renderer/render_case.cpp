#include "ports/renderer/render_case.hpp"

#include <algorithm>
#include <boost/json/array.hpp>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string_view>

#include "ports/printable.hpp"
#include "ports/renderer/message_json.hpp"
#include "ports/renderer/tools.hpp"

namespace pipestill {
namespace {

namespace json = boost::json;

/// Runs of equal weights: (weight, first token, number of tokens).
struct WeightRun {
  float weight;
  std::size_t begin, length;
};
std::vector<WeightRun> runs_of(const std::vector<float>& weights) {
  std::vector<WeightRun> runs;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (runs.empty() || runs.back().weight != weights[i]) runs.push_back({weights[i], i, 0});
    ++runs.back().length;
  }
  return runs;
}

/// Whole numbers without a point, as weights mostly are.
json::value weight_value(float weight) {
  const auto whole = static_cast<std::int64_t>(weight);
  if (static_cast<float>(whole) == weight) return whole;
  return static_cast<double>(weight);
}

Result<void> add_tokens(json::object& out, const ModelInput& input, const Tokenizer& tokenizer) {
  const auto tokens = input.to_ints();
  auto text = tokenizer.decode(tokens);
  if (!text) return fail(std::move(text).error());
  out["text"] = *text;
  out["tokens"] = json::array(tokens.begin(), tokens.end());
  return {};
}

json::array chunk_lengths(const ModelInput& input) {
  json::array lengths;
  for (const auto& chunk : input.chunks) lengths.push_back(chunk.tokens.size());
  return lengths;
}

Result<json::object> example_value(const SupervisedExample& example, const Tokenizer& tokenizer) {
  json::object out;
  if (auto added = add_tokens(out, example.input, tokenizer); !added) return fail(std::move(added).error());
  json::array runs, spans;
  for (const auto& run : runs_of(example.weights)) runs.push_back(json::array{weight_value(run.weight), run.length});
  const auto texts = weighted_spans(example, tokenizer);
  if (!texts) return fail(texts.error());
  for (const auto& [text, weight] : *texts) spans.push_back(json::array{json::value(text), weight_value(weight)});
  out["weights_rle"] = std::move(runs);
  out["spans"] = std::move(spans);
  return out;
}

json::object refused(const Error& error) {
  const char* type = "RendererError";
  if (refusal_of(error) == RenderRefusal::marks) type = "AssertionError";
  if (refusal_of(error) == RenderRefusal::mode) type = "NotImplementedError";
  return {{"error_type", type}, {"error", error.message}};
}

/// A case object, read strictly.
class RenderQuestion {
 public:
  RenderQuestion(const json::object& object, const std::string& place) : object_(object), place_(place) {}

  [[nodiscard]] tl::unexpected<Error> refuse(const std::string& what) const { return fail(ErrorCode::invalid_input, place_ + ": " + what); }

  /// The string `key` of `object`; `otherwise` if it is missing.
  [[nodiscard]] Result<std::string> text(const json::object& object, const char* key,
                                         std::optional<std::string> otherwise = std::nullopt) const {
    const auto* value = object.if_contains(key);
    if (!value && otherwise) return *std::move(otherwise);
    if (!value || !value->is_string()) return refuse(std::string(key) + (value ? " is not a string" : " is missing; a string is needed"));
    return std::string(value->get_string());
  }

  Result<void> check_keys(const json::object& object, std::initializer_list<std::string_view> keys, const char* of) const {
    for (const auto& member : object) {
      const std::string_view key(member.key().data(), member.key().size());
      if (std::ranges::find(keys, key) != keys.end()) continue;
      std::string names;
      for (const auto known : keys) names += (names.empty() ? "" : ", ") + std::string(known);
      return refuse(std::string("unknown key \"") + printable(key) + "\"" + of + "; accepted: " + names);
    }
    return {};
  }

  /// An object below, or the empty one.
  [[nodiscard]] Result<json::object> below(const char* key) const {
    const auto* value = object_.if_contains(key);
    if (!value) return json::object();
    if (!value->is_object()) return refuse(std::string(key) + " is not an object");
    return value->get_object();
  }

  [[nodiscard]] Result<RendererOptions> options() const {
    const auto found = below("renderer_options");
    if (!found) return fail(found.error());
    auto known = check_keys(*found, {"strip_thinking_from_history", "system_role_as_user", "current_date"}, " in renderer_options");
    if (!known) return fail(std::move(known).error());
    RendererOptions options;
    for (const auto& [key, option] : {std::pair{"strip_thinking_from_history", &options.strip_thinking_from_history},
                                      std::pair{"system_role_as_user", &options.system_role_as_user}}) {
      const auto* value = found->if_contains(key);
      if (!value) continue;
      if (!value->is_bool()) return refuse(std::string("renderer_options.") + key + " is neither true nor false");
      *option = value->get_bool();
    }
    if (found->contains("current_date")) {
      auto date = text(*found, "current_date");
      if (!date) return fail(std::move(date).error());
      options.current_date = *std::move(date);
    }
    return options;
  }

  /// The messages, with the tools declared; the inner error is the renderer's, of tools that it cannot declare.
  [[nodiscard]] Result<Result<std::vector<Message>>> conversation(const Renderer& renderer) const {
    const auto* value = object_.if_contains("messages");
    if (!value) return refuse("messages is missing; a list is needed");
    auto messages = messages_from_json(*value, place_ + ": messages");
    if (!messages) return fail(std::move(messages).error());
    const auto* declared = object_.if_contains("tools");
    if (!declared) return messages;
    const auto tools = tools_from_json(*declared, place_ + ": tools");
    if (!tools) return fail(tools.error());
    return with_tools(renderer, *tools, *std::move(messages));
  }

  [[nodiscard]] Result<std::vector<Token>> response(const Tokenizer& tokenizer) const {
    const auto* tokens = object_.if_contains("response_tokens");
    if (!tokens) {
      const auto answer = text(object_, "response_text");
      if (!answer) return refuse("parse_response needs response_tokens, a list of ids, or response_text, a string");
      auto encoded = tokenizer.encode(*answer, SpecialText::recognise);
      if (!encoded) return refuse("response_text: " + encoded.error().message);
      return encoded;
    }
    if (!tokens->is_array()) return refuse("response_tokens is not a list");
    std::vector<Token> ids;
    for (const auto& token : tokens->get_array()) {
      const auto* id = token.if_int64();
      if (!id || *id < 0 || *id > std::numeric_limits<Token>::max()) return refuse("response_tokens holds something that is no token's id");
      ids.push_back(static_cast<Token>(*id));
    }
    return ids;
  }

 private:
  const json::object& object_;
  const std::string& place_;
};

Result<json::object> answer_prompt(const RenderQuestion& question, const Renderer& renderer, const Tokenizer& tokenizer) {
  const auto messages = question.conversation(renderer);
  if (!messages) return fail(messages.error());
  if (!*messages) return refused(messages->error());
  const auto args = question.below("args");
  if (!args) return fail(args.error());
  if (auto known = question.check_keys(*args, {"role", "prefill"}, " in args"); !known) return fail(std::move(known).error());
  const auto role = question.text(*args, "role", "assistant"), prefill = question.text(*args, "prefill", "");
  if (!role) return fail(role.error());
  if (!prefill) return fail(prefill.error());
  const auto prompt = renderer.build_generation_prompt(**messages, {*role, *prefill});
  if (!prompt) return refused(prompt.error());
  json::object out;
  if (auto added = add_tokens(out, *prompt, tokenizer); !added) return fail(std::move(added).error());
  out["chunk_lengths"] = chunk_lengths(*prompt);
  return out;
}

Result<json::object> answer_supervised(const RenderQuestion& question, const Renderer& renderer, const Tokenizer& tokenizer,
                                       bool is_split) {
  const auto messages = question.conversation(renderer);
  if (!messages) return fail(messages.error());
  if (!*messages) return refused(messages->error());
  const auto args = question.below("args");
  if (!args) return fail(args.error());
  if (auto known = question.check_keys(*args, {"train_on_what"}, " in args"); !known) return fail(std::move(known).error());
  const auto name = question.text(*args, "train_on_what", is_split ? "last_assistant_turn" : "last_assistant_message");
  if (!name) return fail(name.error());
  const auto mode = parse_train_on_what(*name);
  if (!mode) return refused(mode.error());
  if (!is_split) {
    const auto example = renderer.build_supervised_example(**messages, *mode);
    if (!example) return refused(example.error());
    auto out = example_value(*example, tokenizer);
    if (out) out->emplace("chunk_lengths", chunk_lengths(example->input));
    return out;
  }
  const auto examples = renderer.build_supervised_examples(**messages, *mode);
  if (!examples) return refused(examples.error());
  json::array values;
  for (const auto& example : *examples) {
    auto value = example_value(example, tokenizer);
    if (!value) return value;
    values.push_back(*std::move(value));
  }
  return json::object{{"examples", std::move(values)}};
}

Result<json::object> answer_response(const RenderQuestion& question, const Renderer& renderer, const Tokenizer& tokenizer) {
  const auto tokens = question.response(tokenizer);
  if (!tokens) return fail(tokens.error());
  const auto parsed = renderer.parse_response(*tokens);
  // Tokens that are not of the vocabulary are the asker's mistake.
  if (!parsed && parsed.error().code == ErrorCode::invalid_input) return question.refuse("response_tokens: " + parsed.error().message);
  if (!parsed) return refused(parsed.error());
  return json::object{{"message", message_to_json(parsed->message)}, {"termination", name_of(parsed->termination)}};
}

Result<json::object> answer_properties(const Renderer& renderer, const Tokenizer& tokenizer) {
  json::array stops, texts;
  const auto stop = renderer.stop_sequences();
  if (const auto* strings = std::get_if<std::vector<std::string>>(&stop)) {
    stops = texts = json::array(strings->begin(), strings->end());
  } else if (const auto* tokens = std::get_if<std::vector<Token>>(&stop)) {
    for (const auto& token : *tokens) {
      auto text = tokenizer.decode(std::span(&token, 1));
      if (!text) return fail(std::move(text).error());
      stops.push_back(token);
      texts.push_back(json::value(*text));
    }
  }
  auto bos = tokenizer.decode(renderer.bos_tokens());
  if (!bos) return fail(std::move(bos).error());
  return json::object{{"stop_sequences", std::move(stops)},
                      {"stop_as_text", std::move(texts)},
                      {"bos_text", *bos},
                      {"has_extension_property", renderer.has_extension_property()},
                      {"disables_thinking", renderer.disables_thinking()}};
}

}  // namespace

Result<std::vector<std::pair<std::string, float>>> weighted_spans(const SupervisedExample& example, const Tokenizer& tokenizer) {
  const auto tokens = example.input.to_ints();
  std::vector<std::pair<std::string, float>> spans;
  for (const auto& run : runs_of(example.weights)) {
    auto text = tokenizer.decode(std::span(tokens).subspan(run.begin, run.length));
    if (!text) return fail(std::move(text).error());
    spans.emplace_back(*std::move(text), run.weight);
  }
  return spans;
}

Result<json::object> answer_render_case(const json::value& question, const std::string& place, std::shared_ptr<const Tokenizer> tokenizer) {
  const auto* object = question.if_object();
  if (!object) return fail(ErrorCode::invalid_input, place + ": not an object with `kind` and `renderer`");
  const RenderQuestion reader(*object, place);
  auto known = reader.check_keys(
      *object,
      {"id", "kind", "renderer", "renderer_options", "tokenizer", "messages", "tools", "response_tokens", "response_text", "args", "expect"}, "");
  if (!known) return fail(std::move(known).error());
  const auto kind = reader.text(*object, "kind"), name = reader.text(*object, "renderer");
  if (!kind) return fail(kind.error());
  if (!name) return fail(name.error());
  const auto options = reader.options();
  if (!options) return fail(options.error());
  const auto renderer = Renderer::make(*name, tokenizer, *options);
  if (!renderer) return reader.refuse(renderer.error().message);
  if (*kind == "generation_prompt") return answer_prompt(reader, **renderer, *tokenizer);
  if (*kind == "supervised" || *kind == "supervised_examples")
    return answer_supervised(reader, **renderer, *tokenizer, *kind != "supervised");
  if (*kind == "parse_response") return answer_response(reader, **renderer, *tokenizer);
  if (*kind == "properties") return answer_properties(**renderer, *tokenizer);
  return reader.refuse("kind \"" + printable(*kind) +
                       "\" is unknown; accepted: generation_prompt, supervised, supervised_examples, parse_response, properties");
}

}  // namespace pipestill
