#include "ports/sampling/simulated_sampling_client.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include "ports/sampling/sampling_factory.hpp"
#include "tests/ports/support.hpp"

using namespace pipestill;
using namespace std::chrono_literals;
using testing::Answer;
using testing::run_all;

namespace {

using Distribution = LatencyOptions::Distribution;

struct SamplingFixture {
  explicit SamplingFixture(SimulatedSamplingOptions o = {}, const std::string& model = "teacher") : options(std::move(o)) {
    if (!options.counters) options.counters = std::make_shared<SessionCounters>();
    Answer<std::unique_ptr<SamplingSession>> opened;
    SimulatedSamplingClient(options, clock).start_session({.model = model, .checkpoint_path = ""}, {}, opened.completion());
    CHECK(!opened.is_there());
    run_all(*clock);
    session = std::move(opened.value());
  }
  Answer<SampledSequence> sample(std::uint64_t seed, std::stop_token stop = {}, std::vector<Token> prompt = {1, 2, 3}) {
    Answer<SampledSequence> answer;
    session->sample({ModelInput::from_ints(std::move(prompt)), {.max_tokens = 8, .seed = seed, .stop = std::vector<Token>{5, 6}}},
                    std::move(stop), answer.completion());
    return answer;
  }
  SimulatedSamplingOptions options;
  std::shared_ptr<SimulatedClock> clock = std::make_shared<SimulatedClock>();
  std::unique_ptr<SamplingSession> session;
};

}  // namespace

TEST_CASE("a simulated answer is a value of model, prompt, seed and parameters") {
  SamplingFixture one({.latency = {.distribution = Distribution::lognormal, .seed = 1}}), other({.latency = {.mean_ms = 1}, .places = 1}),
      stranger({}, "another");
  std::set<std::vector<Token>> answers;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    auto a = one.sample(seed), b = other.sample(seed), c = stranger.sample(seed), d = one.sample(seed, {}, {1, 2, 4});
    run_all(*one.clock);
    run_all(*other.clock);
    run_all(*stranger.clock);
    CHECK(a.value() == b.value());
    const auto& answer = a.value();
    REQUIRE(!answer.tokens.empty());
    CHECK(answer.tokens.size() <= 8);
    CHECK(answer.tokens.back() == 5);
    CHECK(std::count(answer.tokens.begin(), answer.tokens.end(), 5) + std::count(answer.tokens.begin(), answer.tokens.end(), 6) == 1);
    CHECK(answer.stop_reason == StopReason::stop);
    CHECK(answer.logprobs.size() == answer.tokens.size());
    for (const auto* x : {&a, &c, &d}) answers.insert(x->value().tokens);
  }
  CHECK(answers.size() > 120);
}

TEST_CASE("at temperature 0 a simulated answer has no seed") {
  const SimulatedModel model(Sha256().field("any").finish(), 128);
  const auto answered = [&](double temperature, std::uint64_t seed) {
    SamplingParams params{.max_tokens = 8, .temperature = temperature};
    params.seed = seed;
    return model.sample(std::vector<Token>{1, 2, 3}, params).tokens;
  };
  CHECK(answered(0, 1) == answered(0, 2));
  CHECK(answered(1, 1) != answered(1, 2));
  CHECK(answered(0, 1) != answered(1, 1));
}

TEST_CASE("a simulated model that does not repeat itself says so, and does not") {
  SamplingFixture f({.repeatable = false}), other({.repeatable = false});
  CHECK(!f.session->capabilities().is_seeded);
  CHECK(!f.session->capabilities().is_deterministic);
  std::set<std::vector<Token>> answers;
  std::set<std::vector<Logprob>> scores;
  for (int i = 0; i < 10; ++i) {
    for (auto* asked : {&f, &other}) {
      auto answer = asked->sample(5);
      Answer<Score> score;
      asked->session->compute_logprobs({{1, 2, 3}, 0}, {}, score.completion());
      run_all(*asked->clock);
      answers.insert(answer.value().tokens);
      scores.insert(score.value().own);
    }
  }
  CHECK(answers.size() > 15);
  CHECK(scores.size() == 20);
}

TEST_CASE("without stop tokens an answer that fills max_tokens was cut") {
  const SimulatedModel model(sha256("m"), 256);
  int cut = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const auto answer = model.sample(std::vector<Token>{1}, {.max_tokens = 4, .seed = seed, .stop = std::vector<std::string>{"\n\nUser:"}});
    CHECK((answer.stop_reason == StopReason::length) == (answer.tokens.size() == 4));
    cut += answer.stop_reason == StopReason::length;
  }
  CHECK(cut > 20);
  CHECK(cut < 80);
  CHECK(SimulatedModel(sha256("m"), 1).sample({}, {.max_tokens = 4, .stop = std::vector<Token>{0}}).tokens == std::vector<Token>{0});
}

TEST_CASE("scores agree with the log-probabilities of answers") {
  SamplingFixture f;
  auto answer = f.sample(9);
  run_all(*f.clock);
  std::vector<Token> all{1, 2, 3};
  all.insert(all.end(), answer.value().tokens.begin(), answer.value().tokens.end());
  Answer<Score> score;
  f.session->compute_logprobs({all, 4}, {}, score.completion());
  CHECK(!score.is_there());
  run_all(*f.clock);
  const Score& s = score.value();
  REQUIRE(s.own.size() == all.size());
  REQUIRE(s.top.size() == all.size());
  CHECK(!s.own[0]);
  CHECK(s.top[0].empty());
  for (std::size_t i = 3; i < all.size(); ++i) CHECK(s.own[i] == answer.value().logprobs[i - 3]);
  for (std::size_t i = 1; i < all.size(); ++i) {
    REQUIRE(s.top[i].size() == 4);
    CHECK(std::is_sorted(s.top[i].begin(), s.top[i].end(), [](const auto& a, const auto& b) { return a.second > b.second; }));
    CHECK(s.top[i][0].second >= *s.own[i]);
  }
}

TEST_CASE("answers come after the latency that the request's seed draws, whatever else is in flight") {
  const LatencyOptions latency{.distribution = Distribution::uniform, .min_ms = 1, .max_ms = 50, .straggler_rate = 0.2, .seed = 5};
  SamplingFixture f({.latency = latency});
  const auto start = f.clock->now();
  std::vector<Answer<SampledSequence>> answers;
  for (std::uint64_t seed = 0; seed < 100; ++seed) answers.push_back(f.sample(seed));
  std::vector<Clock::Time> came(answers.size());
  for (auto& a : answers) CHECK(!a.is_there());
  while (f.clock->advance()) {
    for (std::size_t i = 0; i < answers.size(); ++i) {
      if (answers[i].is_there() && came[i] == Clock::Time{}) came[i] = f.clock->now();
    }
  }
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    CHECK(answers[seed].calls() == 1);
    CHECK(came[seed] - start == LatencyModel(latency).draw(seed));
  }
}

TEST_CASE("bounded places serve in the order of the calls") {
  SamplingFixture f({.latency = {.mean_ms = 10}, .places = 2});
  std::vector<Answer<SampledSequence>> answers;
  for (std::uint64_t seed = 0; seed < 5; ++seed) answers.push_back(f.sample(seed));
  const auto start = f.clock->now();
  run_all(*f.clock);
  for (auto& a : answers) CHECK(a.is_ok());
  CHECK(f.clock->now() - start == 30ms);
  const auto usage = f.session->usage();
  CHECK(usage.compute == 30ms);
  std::size_t tokens = 0;
  for (auto& a : answers) tokens += a.value().tokens.size();
  CHECK(usage.tokens == tokens);
}

TEST_CASE("usage counts the time with at least one request in service") {
  SamplingFixture f({.latency = {.mean_ms = 10}});
  f.sample(1);
  f.sample(2);
  run_all(*f.clock);
  f.clock->call_at(f.clock->now() + 100ms, [] {});
  run_all(*f.clock);
  CHECK(f.session->usage().compute == 10ms);
  auto last = f.sample(3);
  bool has_checked = false;
  f.clock->call_at(f.clock->now() + 4ms, [&] { has_checked = f.session->usage().compute == 14ms; });
  run_all(*f.clock);
  CHECK(has_checked);
  CHECK(f.session->usage().compute == 20ms);
}

TEST_CASE("a stop cancels a request in service and one that waits, at once and through the clock") {
  SamplingFixture f({.latency = {.mean_ms = 10}, .places = 1});
  std::stop_source first, second;
  auto a = f.sample(1, first.get_token()), b = f.sample(2, second.get_token()), c = f.sample(3);
  const auto start = f.clock->now();
  second.request_stop();
  first.request_stop();
  CHECK(!a.is_there());
  CHECK(!b.is_there());
  while (!(a.is_there() && b.is_there())) REQUIRE(f.clock->advance());
  CHECK(f.clock->now() == start);
  CHECK(a.error().code == ErrorCode::cancelled);
  CHECK(b.error().code == ErrorCode::cancelled);
  run_all(*f.clock);
  CHECK(c.is_ok());  // the place was free again
  CHECK(f.session->usage().compute == 10ms);
  CHECK(a.calls() == 1);
  CHECK(f.session->usage().tokens == c.value().tokens.size());
  CHECK(f.session->close());
}

TEST_CASE("a stop that came before the request, and one that comes after the answer") {
  SamplingFixture f;
  std::stop_source early, late;
  early.request_stop();
  auto a = f.sample(1, early.get_token()), b = f.sample(2, late.get_token());
  CHECK(!a.is_there());
  run_all(*f.clock);
  CHECK(a.error().code == ErrorCode::cancelled);
  CHECK(a.calls() == 1);
  late.request_stop();
  run_all(*f.clock);
  CHECK(b.is_ok());
  CHECK(b.calls() == 1);
}

TEST_CASE("the error rate picks requests by their seed") {
  SamplingFixture f({.latency = {.mean_ms = 1}, .error_rate = 0.3});
  int failed = 0;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    auto a = f.sample(seed);
    run_all(*f.clock);
    CHECK(a.is_ok() != fails_by_error_rate(0.3, seed));
    if (!a.is_ok()) CHECK(a.error().code == ErrorCode::backend_failed);
    failed += !a.is_ok();
  }
  CHECK(failed > 60);
  CHECK(failed < 120);
  CHECK(!fails_by_error_rate(0, 1));
  CHECK(fails_by_error_rate(1, 1));
}

TEST_CASE("a session refuses to close over outstanding requests, and serves none afterwards") {
  SamplingFixture f;
  auto a = f.sample(1);
  const auto refused = f.session->close();
  REQUIRE(!refused);
  CHECK(refused.error().code == ErrorCode::internal);
  run_all(*f.clock);
  CHECK(a.is_ok());
  CHECK(f.session->close());
  CHECK(f.session->close());
  auto b = f.sample(2);
  CHECK(!b.is_there());
  run_all(*f.clock);
  CHECK(b.error().code == ErrorCode::internal);
  f.session.reset();
  CHECK(f.options.counters->opened == 1);
  CHECK(f.options.counters->closed == 1);
  CHECK(f.options.counters->dropped == 0);
}

TEST_CASE("an outstanding request outlives its session, and a session that was not closed is counted") {
  SamplingFixture f;
  auto a = f.sample(1);
  f.session.reset();
  CHECK(f.options.counters->dropped == 1);
  CHECK(f.options.counters->closed == 0);
  run_all(*f.clock);
  CHECK(a.is_ok());
}

TEST_CASE("a completion that the clock's end drops fails its request") {
  Answer<SampledSequence> a;
  {
    struct ForgetfulClock final : Clock {
      [[nodiscard]] Time now() const noexcept override { return {}; }
      void call_at(Time, std::function<void()>) override {}
    };
    auto session = make_simulated_sampling_session(SimulatedModel(sha256("m"), 256), {}, std::make_shared<ForgetfulClock>(),
                                                   std::make_shared<UsageMeter>());
    session->sample({ModelInput::from_ints({1}), {}}, {}, a.completion());
  }
  CHECK(a.error().code == ErrorCode::internal);
  CHECK(a.calls() == 1);
}

TEST_CASE("every request of many threads ends once, with stops in between") {
  auto clock = std::make_shared<SystemClock>();
  auto session = make_simulated_sampling_session(
      SimulatedModel(sha256("m"), 256), {.latency = {.distribution = Distribution::uniform, .min_ms = 0, .max_ms = 0.2}, .places = 3},
      clock, std::make_shared<UsageMeter>());
  constexpr int kThreads = 4, kRequests = 100;
  std::mutex mutex;
  std::condition_variable changed;
  int answered = 0, cancelled = 0;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < kRequests; ++i) {
          std::stop_source stop;
          session->sample({ModelInput::from_ints({t}), {.max_tokens = 4, .seed = static_cast<std::uint64_t>(i)}}, stop.get_token(),
                          Completion<SampledSequence>([&](Result<SampledSequence> result) {
                            std::lock_guard lock(mutex);
                            ++answered;
                            cancelled += !result;
                            changed.notify_all();
                          }));
          if (i % 3 == 0) stop.request_stop();
        }
      });
    }
  }
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return answered == kThreads * kRequests; });
  CHECK(cancelled > 0);
  CHECK(session->close());
}

TEST_CASE("the sampling factory reads its section, with defaults, and names what is wrong") {
  auto clock = std::make_shared<SimulatedClock>();
  const auto make = [&](const char* json) { return make_sampling_client(boost::json::parse(json).as_object(), clock); };
  const auto client =
      make(R"({"client":"simulated","vocab_size":32,"latency":{"distribution":"fixed","mean_ms":7},"max_tokens":28})").value();
  CHECK(client->capabilities().max_top_k == 32);
  Answer<std::unique_ptr<SamplingSession>> opened;
  client->start_session({"m", ""}, {}, opened.completion());
  run_all(*clock);
  Answer<SampledSequence> answer;
  opened.value()->sample({}, {}, answer.completion());
  run_all(*clock);
  CHECK(clock->now() == 7ms);
  CHECK(make(R"({"client":"simulated"})"));
  CHECK(make(R"({"client":"vllm"})").error().message.find("\"vllm\"") != std::string::npos);
  CHECK(make(R"({"client":"simulated","latency":{"mean_ms":"fast"}})").error().message == "latency.mean_ms must be a number");
  CHECK(make(R"({"client":"simulated","latency":{"distribution":"normal"}})")
            .error()
            .message.starts_with("latency.distribution must be fixed, uniform or"));
  CHECK(client->capabilities().is_repeatable());
  CHECK(!make(R"({"client":"simulated","repeatable":false})").value()->capabilities().is_repeatable());
  CHECK(make(R"({"client":"simulated","repeatable":0})").error().message == "repeatable must be true or false");
  CHECK(make(R"({"client":"simulated","vocab_size":0})").error().message.starts_with("vocab_size"));
  CHECK(make(R"({"client":"simulated","vocab_size":1.5})").error().message == "vocab_size must be a whole number");
  CHECK(make(R"({"client":"simulated","vocab_size":4294967297})").error().message == "vocab_size must be a whole number of 32 bits");
  CHECK(make(R"({"client":"simulated","error_rate":2})").error().message.starts_with("error_rate"));
  CHECK(make(R"({"client":"torch","compute_threads":"x"})").error().message == "compute_threads must be a whole number");
  CHECK(make(R"({"client":"torch","compute_threads":0})").error().message.find("compute_threads") != std::string::npos);
  const auto descriptions = describe_sampling_clients();
  REQUIRE(descriptions.size() == 2);
  CHECK(descriptions[0].name == "simulated");
  CHECK(descriptions[1].name == "torch");
}

TEST_CASE("a start that is stopped, and a checkpoint that is not there") {
  auto clock = std::make_shared<SimulatedClock>();
  SimulatedSamplingClient client({}, clock);
  std::stop_source stop;
  stop.request_stop();
  Answer<std::unique_ptr<SamplingSession>> stopped, missing;
  client.start_session({"m", ""}, stop.get_token(), stopped.completion());
  client.start_session({"m", "/nonexistent"}, {}, missing.completion());
  run_all(*clock);
  CHECK(stopped.error().code == ErrorCode::cancelled);
  CHECK(missing.error().code == ErrorCode::invalid_input);
  CHECK(missing.error().message.find("/nonexistent/simulated.json") != std::string::npos);
}

namespace {

/// Tokens that a stream handed over, with the times at which they came.
struct Streamed {
  SampledSequence handed_over;
  std::vector<Clock::Time> times;
  bool is_late = false;
  Answer<SampledSequence> answer;
};

std::shared_ptr<Streamed> stream(SamplingSession& session, const SimulatedClock& clock, SampleRequest request, std::stop_token stop = {},
                                 std::function<void(std::size_t)> on_token = {}) {
  auto seen = std::make_shared<Streamed>();
  session.sample_stream(
      std::move(request), std::move(stop),
      [seen, &clock, on_token = std::move(on_token)](Token token, Logprob logprob) {
        seen->is_late = seen->is_late || seen->answer.is_there();
        seen->handed_over.tokens.push_back(token);
        seen->handed_over.logprobs.push_back(logprob);
        seen->times.push_back(clock.now());
        if (on_token) on_token(seen->times.size());
      },
      seen->answer.completion());
  return seen;
}

SampleRequest long_request(std::uint64_t seed) {
  return {ModelInput::from_ints({1, 2, 3}), {.max_tokens = 40, .seed = seed, .stop = std::vector<Token>{5, 6}}};
}

/// A session that has only what a session must have.
class PlainSession final : public SamplingSession {
 public:
  explicit PlainSession(SamplingSession& inner) : inner_(inner) {}
  void sample(SampleRequest request, std::stop_token stop, Completion<SampledSequence> done) override {
    inner_.sample(std::move(request), std::move(stop), std::move(done));
  }
  void compute_logprobs(ScoreRequest request, std::stop_token stop, Completion<Score> done) override {
    inner_.compute_logprobs(std::move(request), std::move(stop), std::move(done));
  }
  [[nodiscard]] const SamplingCapabilities& capabilities() const override { return capabilities_; }
  [[nodiscard]] ModelUsage usage() const override { return {}; }
  [[nodiscard]] Result<void> close() override { return {}; }

 private:
  SamplingSession& inner_;
  const SamplingCapabilities capabilities_;
};

}  // namespace

TEST_CASE("a simulated answer is streamed over its latency, and is the one that sample() gives") {
  SamplingFixture f({.latency = {.mean_ms = 10}, .places = 3});
  CHECK(f.session->capabilities().can_stream);
  const auto start = f.clock->now();
  std::vector<std::shared_ptr<Streamed>> streams;
  for (std::uint64_t seed = 0; seed < 30; ++seed) streams.push_back(stream(*f.session, *f.clock, long_request(seed)));
  run_all(*f.clock);
  CHECK(f.clock->now() - start == 100ms);  // as long as sample() takes: ten rounds of three
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    Answer<SampledSequence> plain;
    f.session->sample(long_request(seed), {}, plain.completion());
    run_all(*f.clock);
    auto& seen = *streams[seed];
    CHECK(seen.answer.calls() == 1);
    CHECK(seen.answer.value() == plain.value());
    CHECK(seen.handed_over.tokens == plain.value().tokens);
    CHECK(seen.handed_over.logprobs == plain.value().logprobs);
    CHECK_FALSE(seen.is_late);
    CHECK(std::is_sorted(seen.times.begin(), seen.times.end()));
    CHECK(std::set(seen.times.begin(), seen.times.end()).size() == seen.times.size());
    CHECK(seen.times.back() - seen.times.front() < 10ms);
  }
  CHECK(f.session->close());
}

TEST_CASE("after a stop no token of a simulated stream comes") {
  SamplingFixture f({.latency = {.mean_ms = 10}});
  for (const std::size_t last : {1, 2, 4}) {
    std::uint64_t seed = 0;  // of an answer that goes on after that
    while (SimulatedModel(SimulatedState::open({"teacher", ""}, 0)->weights, 256)
               .sample(std::vector<Token>{1, 2, 3}, long_request(seed).params)
               .tokens.size() <= last)
      ++seed;
    std::stop_source stop;
    const auto seen = stream(*f.session, *f.clock, long_request(seed), stop.get_token(), [&](std::size_t count) {
      if (count == last) stop.request_stop();
    });
    run_all(*f.clock);
    CHECK(seen->answer.calls() == 1);
    CHECK(seen->answer.error().code == ErrorCode::cancelled);
    CHECK(seen->handed_over.tokens.size() == last);
  }
  // Two of the same length: the second's token is due when the first's handler stops it.
  std::stop_source second;
  const auto first = stream(*f.session, *f.clock, long_request(3), {}, [&](std::size_t) { second.request_stop(); });
  const auto due = stream(*f.session, *f.clock, long_request(3), second.get_token());
  run_all(*f.clock);
  CHECK(first->answer.is_ok());
  CHECK(first->times.size() > 1);
  CHECK(due->answer.error().code == ErrorCode::cancelled);
  CHECK(due->times.empty());

  std::stop_source early;
  early.request_stop();
  const auto never = stream(*f.session, *f.clock, long_request(1), early.get_token());
  auto refused = long_request(1);
  refused.params.max_tokens = 0;
  const auto wrong = stream(*f.session, *f.clock, refused);
  run_all(*f.clock);
  CHECK(never->answer.error().code == ErrorCode::cancelled);
  CHECK(never->times.empty());
  CHECK(wrong->answer.error().code == ErrorCode::invalid_input);
  CHECK(f.session->close());
  SamplingFixture failing({.latency = {.mean_ms = 10}, .error_rate = 1});
  const auto failed = stream(*failing.session, *failing.clock, long_request(1));
  run_all(*failing.clock);
  CHECK(failed->answer.error().code == ErrorCode::backend_failed);
  CHECK(failed->times.empty());
}

TEST_CASE("a session that cannot stream says so, and hands all tokens over before the answer") {
  SamplingFixture f({.latency = {.mean_ms = 10}});
  PlainSession plain(*f.session);
  CHECK_FALSE(plain.capabilities().can_stream);
  const auto seen = stream(plain, *f.clock, long_request(3));
  CHECK(seen->times.empty());
  run_all(*f.clock);
  CHECK(seen->answer.calls() == 1);
  CHECK(seen->handed_over.tokens == seen->answer.value().tokens);
  CHECK(seen->handed_over.logprobs == seen->answer.value().logprobs);
  CHECK_FALSE(seen->is_late);
  REQUIRE(seen->handed_over.tokens.size() > 3);

  std::stop_source stop;
  const auto stopped = stream(plain, *f.clock, long_request(3), stop.get_token(), [&](std::size_t count) {
    if (count == 2) stop.request_stop();
  });
  run_all(*f.clock);
  CHECK(stopped->answer.calls() == 1);
  CHECK(stopped->answer.error().code == ErrorCode::cancelled);
  CHECK(stopped->handed_over.tokens.size() == 2);
  SamplingFixture failing({.latency = {.mean_ms = 10}, .error_rate = 1});
  PlainSession broken(*failing.session);
  const auto failed = stream(broken, *failing.clock, long_request(3));
  run_all(*failing.clock);
  CHECK(failed->answer.error().code == ErrorCode::backend_failed);
  CHECK(failed->times.empty());
}
