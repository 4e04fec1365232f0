#pragma once
// Rendering as a service to other programs: what is asked, and what comes of it, as JSON objects.
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ports/renderer/renderer.hpp"

namespace pipestill {

/// Answers one question. Its keys:
///   `kind`              generation_prompt, supervised, supervised_examples, parse_response or properties
///   `renderer`          a name, `renderer_options` an object with the members of RendererOptions
///   `messages`          for all but the last two (message_json.hpp); `tools`, if given, are declared before them (tools.hpp)
///   `response_tokens`   for parse_response, or `response_text`, which is encoded first
///   `args`              `role`, `prefill` of a prompt; `train_on_what` of examples
/// `id`, `tokenizer` and `expect` are for the asker and ignored. The answer by kind, with tokens as ids and texts decoded from them:
///   generation_prompt    text, tokens, chunk_lengths
///   supervised           the same, weights_rle ([[weight, run length], ...]) and spans ([[text, weight], ...])
///   supervised_examples  examples, each with text, tokens, weights_rle, spans
///   parse_response       message, termination
///   properties           stop_sequences, stop_as_text, bos_text, has_extension_property, disables_thinking
/// or, where the renderer refuses the conversation, error_type and error: AssertionError for marks that do not fit the mode,
/// NotImplementedError for a mode without separate examples, RendererError for all else. A question that is no question (a missing key, an
/// unknown renderer, a token outside the vocabulary) is ErrorCode::invalid_input; the sentence begins with `place`.
[[nodiscard]] Result<boost::json::object> answer_render_case(const boost::json::value& question, const std::string& place,
                                                             std::shared_ptr<const Tokenizer> tokenizer);

/// An example's tokens, decoded run by run: where the weight changes, a span ends.
[[nodiscard]] Result<std::vector<std::pair<std::string, float>>> weighted_spans(const SupervisedExample& example,
                                                                                const Tokenizer& tokenizer);

}  // namespace pipestill
