#include "ports/renderer/renderer.hpp"

#include <doctest/doctest.h>

#include <algorithm>

#include "ports/tokenizer/bytes_tokenizer.hpp"
#include "ports/tokenizer/chars_tokenizer.hpp"

using namespace pipestill;

namespace {

using Tokens = std::vector<Token>;
using Spans = std::vector<std::pair<std::string, int>>;

std::shared_ptr<const Tokenizer> bytes() { return std::make_shared<BytesTokenizer>(); }
std::shared_ptr<const Renderer> renderer(const char* name) { return Renderer::make(name, bytes()).value(); }
std::string text_of(const ModelInput& input) { return bytes()->decode(input.to_ints()).value(); }
Tokens tokens_of(const std::string& text) { return bytes()->encode(text, SpecialText::recognise).value(); }

/// The example's text, cut where the weight changes.
Spans spans_of(const SupervisedExample& example) {
  const Tokens tokens = example.input.to_ints();
  REQUIRE(example.weights.size() == tokens.size());
  Spans spans;
  for (std::size_t begin = 0, end = 0; begin < tokens.size(); begin = end) {
    while (end < tokens.size() && example.weights[end] == example.weights[begin]) ++end;
    spans.emplace_back(bytes()->decode(std::span(tokens).subspan(begin, end - begin)).value(), static_cast<int>(example.weights[begin]));
  }
  return spans;
}

const std::vector<Message> kTwoTurns{{"system", "s"}, {"user", "q"}, {"assistant", "a"}, {"user", "r"}, {"assistant", "b"}};

}  // namespace

TEST_CASE("role_colon writes roles as words and ends a prompt without a space") {
  const auto r = renderer("role_colon");
  CHECK(text_of(r->build_generation_prompt({{"user", "Hello!"}}).value()) == "User: Hello!\n\nAssistant:");
  CHECK(text_of(r->build_generation_prompt({}).value()) == "Assistant:");
  CHECK(text_of(r->build_generation_prompt({{"toolDeclare", "x"}}).value()) == "Tooldeclare: x\n\nAssistant:");
  CHECK(r->build_generation_prompt({{"user", "Hello!"}}).value().chunks.size() == 3);
  CHECK(std::get<std::vector<std::string>>(r->stop_sequences()) == std::vector<std::string>{"\n\nUser:"});
  CHECK(r->build_generation_prompt({{"é", "x"}}).error().code == ErrorCode::invalid_input);
  CHECK(text_of(r->build_generation_prompt({{"user", "q"}}, {.role = "user", .prefill = " p"}).value()) == "User: q\n\nUser: p");
  CHECK(text_of(r->build_generation_prompt({{"user", std::vector<ContentPart>{TextPart{"q"}}}}).value()) == "User: q\n\nAssistant:");
  CHECK(r->build_generation_prompt({{"user", std::vector<ContentPart>{ThinkingPart{"q"}}}}).error().message ==
        "the renderer role_colon writes a message of role \"user\" only from a text, or from a list of one text part; this is a list of 1 "
        "part of another kind");
}

TEST_CASE("role_colon trains on outputs and on the part of the stop text that follows the last") {
  const auto r = renderer("role_colon");
  CHECK(spans_of(r->build_supervised_example(kTwoTurns, TrainOnWhat::last_assistant_message).value()) ==
        Spans{{"System: s\n\nUser: q\n\nAssistant: a\n\nUser: r\n\nAssistant:", 0}, {" b\n\nUser:", 1}});
  CHECK(spans_of(r->build_supervised_example(kTwoTurns, TrainOnWhat::all_assistant_messages).value()) ==
        Spans{{"System: s\n\nUser: q\n\nAssistant:", 0}, {" a\n\n", 1}, {"User: r\n\nAssistant:", 0}, {" b\n\nUser:", 1}});
  CHECK(spans_of(r->build_supervised_example({{"assistant", "a"}, {"user", "q"}}, TrainOnWhat::last_assistant_message).value()) ==
        Spans{{"Assistant: a\n\nUser: q\n\n<UNUSED>", 0}});
  CHECK(r->build_supervised_example({}, TrainOnWhat::last_assistant_message).error().code == ErrorCode::invalid_input);
}

TEST_CASE("role_colon's answers end at the stop text or at eos, once") {
  const auto r = renderer("role_colon");
  struct Case {
    std::string answer, content;
    Termination termination;
  };
  for (const auto& [answer, content, termination] : std::vector<Case>{
           {" a.\n\nUser:", "a.", Termination::stop_sequence},
           {" a.<|end|>", "a.", Termination::eos},
           {" a.\n\n<|end|>", "a.", Termination::eos},
           {" a.", "a.", Termination::malformed},
           {"", "", Termination::malformed},
           {"a\n\nUser:<|end|>", "a", Termination::malformed},
           {"a\n\nUser: b\n\nUser:", "a", Termination::malformed},
           {"a\n\nUser: more", "a", Termination::stop_sequence},
           {"   both  \n\n\n\nUser:", "  both  ", Termination::stop_sequence},
           {"a<|end|>b<|end|>", "a<|end|>b", Termination::eos},
       }) {
    CAPTURE(answer);
    const auto parsed = r->parse_response(tokens_of(answer)).value();
    CHECK(parsed.message == Message{.role = "assistant", .content = content});
    CHECK(parsed.termination == termination);
  }
  CHECK(!r->parse_response({999}));
}

TEST_CASE("role_tokens separates messages by tokens that no content can forge") {
  const auto r = renderer("role_tokens");
  const auto prompt = r->build_generation_prompt({{"system", "s"}, {"user", "<|end|>"}}).value().to_ints();
  CHECK(prompt == Tokens{257, 's', 258, '<', '|', 'e', 'n', 'd', '|', '>', 259});
  CHECK(spans_of(r->build_supervised_example(kTwoTurns, TrainOnWhat::last_assistant_message).value()) ==
        Spans{{"<|system|>s<|user|>q<|assistant|>a<|end|><|user|>r<|assistant|>", 0}, {"b<|end|>", 1}});
  CHECK(spans_of(r->build_supervised_example(kTwoTurns, TrainOnWhat::all_assistant_messages).value()) ==
        Spans{{"<|system|>s<|user|>q<|assistant|>", 0}, {"a<|end|>", 1}, {"<|user|>r<|assistant|>", 0}, {"b<|end|>", 1}});
  CHECK(spans_of(r->build_supervised_example({{"assistant", "a"}, {"user", "q"}}, TrainOnWhat::last_assistant_message).value()) ==
        Spans{{"<|assistant|>a<|end|><|user|>q", 0}});
  CHECK(std::get<Tokens>(r->stop_sequences()) == Tokens{260});
  CHECK(r->build_generation_prompt({{"tool", "x"}}).error().message == "the tokenizer has no special token <|tool|> for the role \"tool\"");
}

TEST_CASE("a supervised example begins with the prompt that its answer is sampled from") {
  for (const char* name : {"role_colon", "role_tokens"}) {
    const auto r = renderer(name);
    const std::vector<Message> question{{"system", "s"}, {"user", "q"}};
    auto whole = question;
    whole.push_back({"assistant", "a"});
    const auto prompt = r->build_generation_prompt(question).value().to_ints();
    const auto example = r->build_supervised_example(whole, TrainOnWhat::last_assistant_message).value();
    const auto tokens = example.input.to_ints();
    REQUIRE(tokens.size() > prompt.size());
    CHECK(std::equal(prompt.begin(), prompt.end(), tokens.begin()));
    for (std::size_t i = 0; i < tokens.size(); ++i) CHECK(example.weights[i] == (i < prompt.size() ? 0 : 1));
  }
}

TEST_CASE("role_tokens' answers end at the end token, once") {
  const auto r = renderer("role_tokens");
  CHECK(r->parse_response(tokens_of("a b<|end|>")).value().message == Message{.role = "assistant", .content = "a b"});
  CHECK(r->parse_response(tokens_of("a b<|end|>c")).value().termination == Termination::stop_sequence);
  CHECK(r->parse_response(tokens_of("a b<|end|>c")).value().message.content == "a b");
  CHECK(r->parse_response(tokens_of("a b")).value().termination == Termination::malformed);
  CHECK(r->parse_response(tokens_of("a b")).value().message.content == "a b");
  CHECK(r->parse_response({}).value().termination == Termination::malformed);
  CHECK(r->parse_response(tokens_of("a<|end|><|end|>")).error().code == ErrorCode::backend_failed);
}

TEST_CASE("a renderer is made by name, for a vocabulary that can express it") {
  CHECK(Renderer::make("llama4", bytes())
            .error()
            .message.starts_with("there is no renderer \"llama4\"; accepted: role_colon, role_tokens, llama3, "));
  CHECK(Renderer::make("llama3", bytes()).error().message ==
        "the renderer llama3 needs the token <|begin_of_text|>, which the tokenizer lacks");
  CHECK(Renderer::make("role_colon", bytes(), {.current_date = "2025-01-15"}).error().message ==
        "the renderer role_colon has no option current_date; it has none");
  const std::shared_ptr<const Tokenizer> poor =
      CharsTokenizer::parse(R"({"type":"chars","special_tokens":["<|user|>","<|end|>"],"eos_token":"<|end|>","characters":"a"})", "x")
          .value();
  CHECK(Renderer::make("role_tokens", poor).error().message.find("<|assistant|>") != std::string::npos);
  CHECK(Renderer::make("role_colon", poor));
  CHECK(Renderer::describe_all().size() == 13);
}
