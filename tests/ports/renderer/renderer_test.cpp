#include "ports/renderer/renderer.hpp"

#include <doctest/doctest.h>

#include <algorithm>

#include "ports/tokenizer/bytes_tokenizer.hpp"
#include "ports/tokenizer/chars_tokenizer.hpp"
#include "tests/ports/support.hpp"

using namespace pipestill;
using testing::text;

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
    CHECK(parsed.message == Message{"assistant", content});
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
  CHECK(r->parse_response(tokens_of("a b<|end|>")).value().message == Message{"assistant", "a b"});
  CHECK(r->parse_response(tokens_of("a b<|end|>c")).value().termination == Termination::stop_sequence);
  CHECK(r->parse_response(tokens_of("a b<|end|>c")).value().message.content == "a b");
  CHECK(r->parse_response(tokens_of("a b")).value().termination == Termination::malformed);
  CHECK(r->parse_response(tokens_of("a b")).value().message.content == "a b");
  CHECK(r->parse_response({}).value().termination == Termination::malformed);
  CHECK(r->parse_response(tokens_of("a<|end|><|end|>")).error().code == ErrorCode::backend_failed);
}

TEST_CASE("a renderer is made by name, for a vocabulary that can express it") {
  CHECK(Renderer::make("llama3", bytes()).error().message.find("role_colon, role_tokens") != std::string::npos);
  const std::shared_ptr<const Tokenizer> poor =
      CharsTokenizer::parse(R"({"type":"chars","special_tokens":["<|user|>","<|end|>"],"eos_token":"<|end|>","characters":"a"})", "x")
          .value();
  CHECK(Renderer::make("role_tokens", poor).error().message.find("<|assistant|>") != std::string::npos);
  CHECK(Renderer::make("role_colon", poor));
  CHECK(Renderer::describe_all().size() == 2);
}

// The conformance cases were made with three large vocabularies, which are not here. Compared over the bytes: the texts of prompts, the
// weighted texts of supervised examples, and what answers are parsed to. Not compared: token ids and chunk lengths. The bos token's text,
// which stands before everything with weight 0, is taken off, for the bytes have no such token. Left out are cases of modes, prefills,
// roles and contents in parts that the interface does not have.
TEST_CASE("role_colon conformance: texts, weights, answers") {
  const auto data = testing::conformance_data("render/role_colon.json");
  if (data.is_null()) {
    MESSAGE("skipped: no conformance data");
    return;
  }
  const auto r = renderer("role_colon");
  const auto without_bos = [](std::string s) {
    for (const std::string bos : {"<|begin_of_text|>", "<｜begin▁of▁sentence｜>"}) {
      if (s.starts_with(bos)) return s.substr(bos.size());
    }
    return s;
  };
  int compared = 0;
  for (const auto& c : data.at("cases").as_array()) {
    CAPTURE(text(c.at("id")));
    const auto& object = c.as_object();
    const auto& expect = c.at("expect").as_object();
    const std::string kind = text(c.at("kind"));
    if (kind == "parse_response") {
      // The vocabulary's eos is the last token where the expected termination can only come from one.
      const std::string id = text(c.at("id"));
      const bool has_eos = id.ends_with("eos");
      const auto parsed = r->parse_response(tokens_of(text(c.at("response_text")) + (has_eos ? "<|end|>" : ""))).value();
      CHECK(parsed.message.content == text(expect.at("message").at("content")));
      const char* names[] = {"stop_sequence", "eos", "malformed"};
      CHECK(names[static_cast<int>(parsed.termination)] == text(expect.at("termination")));
      ++compared;
      continue;
    }
    if (!object.contains("messages") || expect.contains("error_type")) continue;
    std::vector<Message> messages;
    bool is_plain = true;
    for (const auto& m : c.at("messages").as_array()) {
      is_plain = is_plain && m.at("content").is_string();
      if (is_plain) messages.push_back({text(m.at("role")), text(m.at("content"))});
    }
    if (!is_plain) continue;
    const auto& args = c.at("args").as_object();
    if (kind == "generation_prompt" && args.empty()) {
      CHECK(text_of(r->build_generation_prompt(messages).value()) == without_bos(text(expect.at("text"))));
      ++compared;
    }
    if (kind == "supervised") {
      const std::string mode = text(args.at("train_on_what"));
      if (mode != "last_assistant_message" && mode != "all_assistant_messages") continue;
      const auto example = r->build_supervised_example(
          messages, mode == "last_assistant_message" ? TrainOnWhat::last_assistant_message : TrainOnWhat::all_assistant_messages);
      Spans expected;
      for (const auto& span : expect.at("spans").as_array()) {
        auto piece = expected.empty() ? without_bos(text(span.as_array()[0])) : text(span.as_array()[0]);
        expected.emplace_back(std::move(piece), static_cast<int>(span.as_array()[1].to_number<double>()));
      }
      CHECK(spans_of(example.value()) == expected);
      ++compared;
    }
  }
  MESSAGE("compared cases: ", compared);
  CHECK(compared > 100);
}
