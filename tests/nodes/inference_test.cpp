#include <doctest/doctest.h>

#include <boost/json/parse.hpp>

#include "graph/feedback.hpp"
#include "nodes/student_inference.hpp"
#include "nodes/teacher_inference.hpp"
#include "tests/nodes/fakes.hpp"

namespace {

using namespace pipestill;
using namespace pipestill::test;

struct Fixture {
  std::shared_ptr<ManualSampling> session = std::make_shared<ManualSampling>();
  std::shared_ptr<SimulatedClock> clock = std::make_shared<SimulatedClock>();
  std::shared_ptr<RecordingTelemetry> telemetry = std::make_shared<RecordingTelemetry>();
  PromptRenderer renderer{std::make_shared<LetterRenderer>(), std::make_shared<LetterTokenizer>()};
  RowPolicies policies;
  std::size_t in_flight = 100;
  std::stop_source stop;
  std::vector<std::unique_ptr<graph::Context>> contexts;
  std::optional<TeacherInference> made;

  TeacherInference& stage() {
    if (!made)
      made.emplace(TeacherInferenceOptions{
          {{RequestQueue(session, in_flight, clock), {renderer, {.max_tokens = 9, .top_k = 5}, policies}}}, telemetry, clock});
    return *made;
  }
  template <class Batch>
  Delivered<SampledBatch> start(Batch batch, std::uint64_t seq = 0) {
    contexts.push_back(std::make_unique<graph::Context>(graph::Context{.seq = {seq}, .lease = {}, .stop = stop.get_token()}));
    Delivered<SampledBatch> out;
    stage()(std::move(batch), *contexts.back(), out.completion());
    return out;
  }
};

SampledBatch answered(const std::vector<std::string>& texts) {
  SampledBatch batch;
  for (auto& row : prompts(texts).rows) {
    batch.rows.push_back({.row = row, .prompt = ModelInput::from_ints({7, 8}), .answer = answer_of("xy.")});
  }
  return batch;
}

}  // namespace

TEST_CASE("a prompt is rendered chunk by chunk, without added special tokens, and sampled with the row's seed and the renderer's stop") {
  Fixture f;
  auto out = f.start(prompts({"ab", "c"}));
  REQUIRE(f.session->samples.size() == 2);
  const auto& request = f.session->samples[0].request;
  CHECK(request.prompt == ModelInput{{{{'a', 'b'}}, {{'>'}}}});  // neither bos nor eos
  CHECK(request.params.seed == 100);
  CHECK(request.params.max_tokens == 9);
  CHECK(request.params.top_k == 5);
  CHECK(request.params.stop == Stop(std::vector<Token>{'.'}));
  f.session->answer(answer_of("x."));
  CHECK(!out.has());
  f.session->answer(answer_of("yy."));
  const auto& batch = out.value();
  CHECK(batch.rows[0].answer == answer_of("x."));
  CHECK(batch.rows[1].answer == answer_of("yy."));
  CHECK(batch.rows[1].prompt == ModelInput{{{{'c'}}, {{'>'}}}});
}

TEST_CASE("a long prompt keeps its first max_prompt_tokens tokens, of the last user message") {
  Fixture f;
  f.renderer.max_prompt_tokens = 3;
  PromptBatch batch = prompts({""});
  batch.rows[0].conversation = {{"user", "abcdef"}, {"assistant", "ghijkl"}, {"user", "mnopqr"}};
  auto out = f.start(std::move(batch));
  REQUIRE(f.session->samples.size() == 1);
  CHECK(f.session->samples[0].request.prompt.to_ints() == letters("abcdefghijklmno>"));
  f.session->answer(answer_of("x."));  // a request left open would keep its session, and be kept by it
}

TEST_CASE("a list of one text part is shortened like a text, and another list is refused with the row's place") {
  Fixture f;
  f.renderer.max_prompt_tokens = 3;
  auto row = prompts({""}).rows.at(0);
  row.conversation = {{"user", std::vector<ContentPart>{TextPart{"abcdef"}}}};
  REQUIRE(f.renderer.truncate(row));
  CHECK(row.conversation[0].content == MessageContent(std::vector<ContentPart>{TextPart{"abc"}}));
  row.conversation = {{"user", std::vector<ContentPart>{TextPart{"abc"}, TextPart{"def"}}}};
  const auto refused = f.renderer.truncate(row);
  REQUIRE(!refused);
  CHECK(refused.error().message == "train.jsonl:1: max_prompt_tokens shortens a text, and the last user message is a list of 2 parts");
}

TEST_CASE("a row with tools is refused with its place by a renderer that cannot declare them") {
  Fixture f;
  auto row = prompts({"ab"}).rows.at(0);
  row.tools = tools_from_json(boost::json::parse(R"([{"name": "f"}])"), "t").value();
  const auto refused = f.renderer.render(row);
  REQUIRE(!refused);
  CHECK(refused.error().code == ErrorCode::invalid_input);
  CHECK(refused.error().message.starts_with("train.jsonl:1: the renderer "));
}

TEST_CASE("the rows of a mix ask their dataset's teacher, in its renderer, with its sampling and policies, and come back in order") {
  class OtherRenderer final : public LetterRenderer {
   public:
    Stop stop_sequences() const override { return std::vector<Token>{'!'}; }
  };
  Fixture f;
  const auto other = std::make_shared<ManualSampling>();
  auto others = f.renderer;
  others.renderer = std::make_shared<OtherRenderer>();
  others.max_prompt_tokens = 1;
  f.made.emplace(TeacherInferenceOptions{{{RequestQueue(f.session, 100, f.clock), {f.renderer, {.max_tokens = 9}, {}}},
                                          {RequestQueue(other, 100, f.clock), {others, {.max_tokens = 3, .top_k = 2}, {.on_error = RowPolicy::drop}}}},
                                         f.telemetry,
                                         f.clock});
  auto batch = prompts({"ab", "cd", "ef", "gh"});
  batch.rows[1].dataset = batch.rows[2].dataset = 1;
  auto out = f.start(std::move(batch));
  REQUIRE(f.session->samples.size() == 2);
  REQUIRE(other->samples.size() == 2);
  CHECK(f.session->samples[1].request.prompt.to_ints() == letters("gh>"));
  CHECK(f.session->samples[1].request.params.stop == Stop(std::vector<Token>{'.'}));
  CHECK(f.session->samples[1].request.params.seed == 103);
  CHECK(other->samples[0].request.prompt.to_ints() == letters("c>"));
  CHECK(other->samples[0].request.params.max_tokens == 3);
  CHECK(other->samples[0].request.params.top_k == 2);
  CHECK(other->samples[0].request.params.seed == 101);
  CHECK(other->samples[0].request.params.stop == Stop(std::vector<Token>{'!'}));
  other->answer(fail(ErrorCode::backend_failed, "HTTP 500"));
  other->answer(answer_of("y."));
  f.session->answer(answer_of("x."));
  CHECK(!out.has());
  f.session->answer(answer_of("z."));
  const auto& rows = out.value().rows;
  CHECK(rows[0].answer == answer_of("x."));
  CHECK(rows[1].row.dropped == DropReason::error);
  CHECK(rows[2].answer == answer_of("y."));
  CHECK(rows[3].answer == answer_of("z."));
}

TEST_CASE("a mix's answers are scored by their dataset's teacher") {
  Fixture f;
  const auto other = std::make_shared<ManualSampling>();
  f.made.emplace(TeacherInferenceOptions{{{RequestQueue(f.session, 100, f.clock), {f.renderer, {}, {}}}, {RequestQueue(other, 100, f.clock), {f.renderer, {}, {.on_error = RowPolicy::drop}}}},
                                         f.telemetry,
                                         f.clock});
  auto batch = answered({"a", "b"});
  batch.rows[1].row.dataset = 1;
  auto out = f.start(std::move(batch));
  f.session->score(Score{{std::nullopt, -9.0f, -1.0f, -2.0f, -3.0f}});
  CHECK(!out.has());
  other->score(fail(ErrorCode::backend_failed, "HTTP 500"));
  CHECK(out.value().rows[0].teacher_logprobs == std::vector<float>{-1, -2, -3});
  CHECK(out.value().rows[1].row.dropped == DropReason::error);
}

TEST_CASE("the rows of the next batch fill the places that a straggler leaves, oldest batch first") {
  Fixture f;
  f.in_flight = 2;
  auto first = f.start(prompts({"a", "b", "c"}), 0);
  auto second = f.start(prompts({"d", "e"}, 1), 1);
  const auto next = [&] { return f.session->samples.back().request.prompt.to_ints().front(); };
  auto straggler = std::move(f.session->samples.front());  // row a stays out
  f.session->samples.pop_front();
  f.session->answer(answer_of("x."));
  CHECK(next() == 'c');
  f.session->answer(answer_of("x."));
  CHECK(next() == 'd');
  f.session->answer(answer_of("x."));
  f.session->answer(answer_of("x."));
  CHECK(second.has());
  CHECK(!first.has());
  straggler.done(answer_of("x."));
  CHECK(first.value().rows.size() == 3);
}

TEST_CASE("policies decide about errors, empty and truncated answers: fail with the row's place, drop, or keep") {
  struct Case {
    Result<SampledSequence> answer;
    RowPolicy RowPolicies::*policy;
    DropReason reason;
  };
  const std::vector<Case> cases{{fail(ErrorCode::backend_failed, "HTTP 500"), &RowPolicies::on_error, DropReason::error},
                                {answer_of("."), &RowPolicies::on_empty, DropReason::empty},
                                {answer_of(""), &RowPolicies::on_empty, DropReason::empty},
                                {answer_of("xyz", StopReason::length), &RowPolicies::on_truncated, DropReason::truncated}};
  for (const auto& c : cases) {
    for (const auto policy : {RowPolicy::fail, RowPolicy::drop}) {
      Fixture f;
      f.policies.*c.policy = policy;
      auto out = f.start(prompts({"a", "b"}));
      f.session->answer(answer_of("good."));
      f.session->answer(c.answer);
      if (policy == RowPolicy::fail) {
        CHECK(out.error().code == ErrorCode::backend_failed);
        CHECK(out.error().message.starts_with("train.jsonl:2: "));
      } else {
        CHECK(!out.value().rows[0].row.dropped);
        CHECK(out.value().rows[1].row.dropped == c.reason);
      }
    }
  }
  Fixture keeps;
  auto out = keeps.start(prompts({"a"}));
  keeps.session->answer(answer_of("xyz", StopReason::length));
  CHECK(!out.value().rows[0].row.dropped);
}

TEST_CASE("no policy hides a cancelled request or a broken promise of ours") {
  for (const auto code : {ErrorCode::cancelled, ErrorCode::internal}) {
    Fixture f;
    f.policies.on_error = RowPolicy::drop;
    auto out = f.start(prompts({"a"}));
    f.session->answer(fail(code, "?"));
    CHECK(out.error().code == code);
  }
}

TEST_CASE("an answer whose tokens and log-probabilities differ in number is refused, whatever the policies") {
  Fixture f;
  f.policies = {RowPolicy::drop, RowPolicy::drop, RowPolicy::drop};
  auto out = f.start(prompts({"a"}));
  auto answer = answer_of("xy.");
  answer.logprobs.pop_back();
  f.session->answer(answer);
  CHECK(out.error().message == "train.jsonl:1: misaligned answer: 3 tokens with 2 log-probabilities");
}

TEST_CASE("of several failed rows the first in the batch is reported, whichever failed first, when all have come back") {
  Fixture f;
  auto out = f.start(prompts({"a", "b", "c"}));
  f.session->samples[2].done(fail(ErrorCode::backend_failed, "third"));
  f.session->samples[1].done(fail(ErrorCode::backend_failed, "second"));
  CHECK(!out.has());
  f.session->samples[0].done(answer_of("x."));
  CHECK(out.error().message == "train.jsonl:2: second");
}

TEST_CASE("a stop cancels the rows that wait, and the batch ends when those under way have ended") {
  Fixture f;
  f.in_flight = 1;
  auto out = f.start(prompts({"a", "b", "c"}));
  f.stop.request_stop();
  CHECK(!out.has());
  CHECK(f.session->samples.size() == 1);
  f.session->answer(fail(ErrorCode::cancelled, "stopped"));
  CHECK(out.error().code == ErrorCode::cancelled);
  CHECK(f.session->samples.empty());
}

TEST_CASE("dropped rows are not asked for, and a batch of nothing else is completed from outside the call") {
  Fixture f;
  auto batch = prompts({"a", "b"});
  batch.rows[0].dropped = batch.rows[1].dropped = DropReason::bad;
  auto out = f.start(std::move(batch));
  CHECK(!out.has());
  run_to_the_end(*f.clock);
  CHECK(out.value().rows.size() == 2);
  CHECK(f.session->samples.empty());
}

TEST_CASE("a row that cannot be rendered fails the batch before anything is sent") {
  Fixture f;
  auto out = f.start(prompts({"a", "unrenderable"}));
  CHECK(f.session->samples.empty());
  run_to_the_end(*f.clock);
  CHECK(out.error().message == "train.jsonl:2: this renderer cannot render it");
}

TEST_CASE("teacher_latency runs from the batch's first request, not from its arrival, to its last answer") {
  Fixture f;
  f.in_flight = 1;
  auto first = f.start(prompts({"a"}), 0);
  auto second = f.start(prompts({"b"}, 1), 1);
  const auto later = [&](int ms) {
    f.clock->call_at(f.clock->now() + std::chrono::milliseconds(ms), [] {});
    run_to_the_end(*f.clock);
  };
  later(30);
  f.session->answer(answer_of("x."));  // now b is sent
  later(12);
  f.session->answer(answer_of("x."));
  CHECK(first.value().teacher_cost.latency == std::chrono::milliseconds(30));
  CHECK(second.value().teacher_cost.latency == std::chrono::milliseconds(12));
  REQUIRE(f.telemetry->count("pipestill.distillation.teacher_inference") == 2);
  CHECK(f.telemetry->events[1].fields.at("teacher_latency_ms").as_double() == 12);
}

TEST_CASE("a batch says how many requests a backend was sent for it, and how many tokens those paid for came to") {
  Fixture f;
  f.policies.on_error = RowPolicy::drop;
  auto out = f.start(prompts({"a", "b", "c"}));
  REQUIRE(f.session->samples.size() == 3);
  const auto prompt = f.session->samples[0].request.prompt.length();
  auto kept = answer_of("kept."), again = answer_of("xy.");
  kept.attempts = 0;
  again.attempts = 3;
  f.session->answer(kept);
  f.session->answer(again);
  f.session->answer(fail(ErrorCode::backend_failed, "it failed"));
  const auto& cost = out.value().teacher_cost;
  CHECK(cost.attempts == 4);
  CHECK(cost.tokens_paid == prompt + 3);
  CHECK(f.telemetry->events.back().fields.at("attempts").to_number<int>() == 4);
  CHECK(f.telemetry->events.back().fields.at("tokens_paid").to_number<std::uint64_t>() == prompt + 3);

  auto scores = f.start(answered({"a", "b"}));
  Score paid{{std::nullopt, -9.0f, -1.0f, -2.0f, -3.0f}}, stored = paid;
  stored.attempts = 0;
  f.session->score(stored);
  f.session->score(paid);
  CHECK(scores.value().teacher_cost.attempts == 1);
  CHECK(scores.value().teacher_cost.tokens_paid == 5);
}

TEST_CASE("on_policy: the teacher scores prompt and answer, and the answer's part is kept") {
  Fixture f;
  auto out = f.start(answered({"a"}));
  REQUIRE(f.session->scorings.size() == 1);
  CHECK(f.session->scorings[0].request.tokens == std::vector<Token>{7, 8, 'x', 'y', '.'});
  f.session->score(Score{{std::nullopt, -9.0f, -1.0f, -2.0f, -3.0f}});
  CHECK(out.value().rows[0].teacher_logprobs == std::vector<float>{-1.0f, -2.0f, -3.0f});
}

TEST_CASE("on_policy: a missing log-probability is an outcome, never a number") {
  for (const auto policy : {RowPolicy::fail, RowPolicy::drop}) {
    Fixture f;
    f.policies.on_error = policy;
    auto out = f.start(answered({"a"}));
    f.session->score(Score{{std::nullopt, -9.0f, -1.0f, std::nullopt, -3.0f}});
    if (policy == RowPolicy::fail) {
      CHECK(out.error().message.starts_with("train.jsonl:1: "));
    } else {
      CHECK(out.value().rows[0].row.dropped == DropReason::error);
      CHECK(out.value().rows[0].teacher_logprobs.empty());
    }
  }
  Fixture f;
  f.policies.on_error = RowPolicy::drop;
  auto out = f.start(answered({"a"}));
  f.session->score(Score{{std::nullopt, -9.0f, -1.0f}});
  CHECK(out.error().message == "train.jsonl:1: misaligned score: 5 tokens with 3 log-probabilities");
}

TEST_CASE("student_inference samples the leased version and says which") {
  Fixture f;
  const auto old_student = std::make_shared<ManualSampling>();
  const graph::Feedback<StudentVersion> feedback(std::make_shared<const StudentVersion>(StudentVersion{old_student}), graph::Staleness{0});
  StudentInference stage({feedback, {{f.renderer, {.max_tokens = 4}, f.policies}}, f.clock});
  graph::Context context{.seq = {3}, .lease = {{2}, std::make_shared<const StudentVersion>(StudentVersion{f.session})}, .stop = {}};
  Delivered<SampledBatch> out;
  stage(prompts({"a", "b"}), context, out.completion());
  CHECK(old_student->samples.empty());
  REQUIRE(f.session->samples.size() == 2);
  CHECK(f.session->samples[1].request.params.seed == 101);
  f.session->answer(answer_of("x."));
  f.session->answer(answer_of("y."));
  CHECK(out.value().student_version == 2);
  CHECK(out.value().rows[1].answer == answer_of("y."));
}

TEST_CASE("student_inference needs every log-probability") {
  Fixture f;
  const graph::Feedback<StudentVersion> feedback(nullptr, graph::Staleness{0});
  StudentInference stage({feedback, {{f.renderer, {}, f.policies}}, f.clock});
  graph::Context context{.seq = {}, .lease = {{}, std::make_shared<const StudentVersion>(StudentVersion{f.session})}, .stop = {}};
  Delivered<SampledBatch> out;
  stage(prompts({"a"}), context, out.completion());
  auto answer = answer_of("x.");
  answer.logprobs[1].reset();
  f.session->answer(answer);
  CHECK(out.error().message.starts_with("train.jsonl:1: "));
}
