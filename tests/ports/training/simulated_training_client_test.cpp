#include "ports/training/simulated_training_client.hpp"

#include <doctest/doctest.h>

#include <set>

#include "ports/sampling/simulated_sampling_client.hpp"
#include "ports/training/training_factory.hpp"
#include "tests/ports/support.hpp"

using namespace pipestill;
using namespace std::chrono_literals;
using testing::Answer;
using testing::run_all;
using testing::TempDir;

namespace {

std::vector<Datum> batch(int n) {
  return {{.model_input = ModelInput::from_ints({n, n + 1, n + 2}),
           .loss_fn_inputs = {{"target_tokens", {std::vector<std::int64_t>{n + 1, n + 2, 0}, {3}}},
                              {"weights", {std::vector<float>{0, 1, 0.5f}, {3}}}}}};
}

struct TrainingFixture {
  explicit TrainingFixture(SimulatedTrainingOptions o = {}, std::uint64_t seed = 7, const std::string& model = "student") : options(std::move(o)) {
    if (!options.counters) options.counters = std::make_shared<SessionCounters>();
    if (!options.snapshot_counters) options.snapshot_counters = std::make_shared<SessionCounters>();
    Answer<std::unique_ptr<TrainingSession>> opened;
    SimulatedTrainingClient(options, clock).start_session({.model = model, .checkpoint_path = ""}, seed, {}, opened.completion());
    run_all(*clock);
    session = std::move(opened.value());
  }
  Answer<ForwardBackwardOutput> forward_backward(int n, std::stop_token stop = {}, Loss loss = {}) {
    Answer<ForwardBackwardOutput> a;
    session->forward_backward(batch(n), std::move(loss), std::move(stop), a.completion());
    return a;
  }
  Answer<OptimStepOutput> optim_step(double learning_rate = 1e-3) {
    Answer<OptimStepOutput> a;
    session->optim_step({.learning_rate = learning_rate}, {}, a.completion());
    return a;
  }
  std::string digest() {
    Answer<std::string> a;
    session->weights_digest({}, a.completion());
    run_all(*clock);
    return a.value();
  }
  template <class T, class Call>
  Answer<T> call(Call&& c) {
    Answer<T> a;
    c(*session, a.completion());
    run_all(*clock);
    return a;
  }
  SimulatedTrainingOptions options;
  std::shared_ptr<SimulatedClock> clock = std::make_shared<SimulatedClock>();
  std::unique_ptr<TrainingSession> session;
};

}  // namespace

TEST_CASE("weights are a value of the start and of the batches in their order") {
  const auto train = [](TrainingFixture f, std::vector<int> batches, double rate = 1e-3) {
    for (const int n : batches) {
      f.forward_backward(n);
      f.optim_step(rate);
    }
    return f.digest();
  };
  const auto expected = train(TrainingFixture(), {1, 2, 3});
  CHECK(train(TrainingFixture({.latency = {.distribution = LatencyOptions::Distribution::lognormal, .seed = 9}}), {1, 2, 3}) == expected);
  CHECK(train(TrainingFixture(), {1, 3, 2}) != expected);
  CHECK(train(TrainingFixture(), {1, 2}) != expected);
  CHECK(train(TrainingFixture(), {1, 2, 3}, 2e-3) != expected);
  CHECK(train(TrainingFixture({}, 8), {1, 2, 3}) != expected);
  CHECK(train(TrainingFixture({}, 7, "other"), {1, 2, 3}) != expected);
}

TEST_CASE("operations are served one after the other in the order of the calls, and answer through the clock") {
  TrainingFixture f({.latency = {.distribution = LatencyOptions::Distribution::uniform, .min_ms = 1, .max_ms = 9}});
  const LatencyModel latency(f.options.latency);
  const auto start = f.clock->now();
  auto a = f.forward_backward(1);
  auto b = f.optim_step();
  auto c = f.forward_backward(2);
  CHECK(!a.is_there());
  while (!a.is_there()) REQUIRE(f.clock->advance());
  CHECK(f.clock->now() - start == latency.draw(0));
  CHECK(!b.is_there());
  while (!b.is_there()) REQUIRE(f.clock->advance());
  CHECK(f.clock->now() - start == latency.draw(0));
  CHECK(!c.is_there());
  run_all(*f.clock);
  CHECK(f.clock->now() - start == latency.draw(0) + latency.draw(1));
  CHECK(f.session->usage().compute == latency.draw(0) + latency.draw(1));
  CHECK(f.session->usage().tokens == 6);
  CHECK(a.value().metrics.at("num_tokens") == 2);
  CHECK(a.value().metrics.at("loss") > 0);
  CHECK(a.value().metrics.at("loss") < 4);
  CHECK(a.value().metrics.at("loss") != c.value().metrics.at("loss"));
  CHECK(b.value().metrics.contains("grad_norm"));
}

TEST_CASE("forward gives the loss and changes nothing") {
  TrainingFixture f;
  const auto before = f.digest();
  Answer<ForwardBackwardOutput> forward;
  f.session->forward(batch(1), {}, {}, forward.completion());
  auto backward = f.forward_backward(1);
  run_all(*f.clock);
  CHECK(forward.value().metrics == backward.value().metrics);
  CHECK(f.digest() == before);  // of the weights, until the optimizer steps
}

TEST_CASE("rows at a time change the weights, as their rounding would, and no loss") {
  const auto train = [](std::size_t rows) {
    TrainingFixture f;
    auto out = f.forward_backward(1, {}, {.micro_batch_rows = rows});
    f.optim_step();
    auto weights = f.digest();
    return std::pair(out.value().metrics.at("loss"), std::move(weights));
  };
  CHECK(train(2) == train(2));
  CHECK(train(2).first == train(0).first);
  CHECK(train(2).second != train(0).second);
  CHECK(train(2).second != train(4).second);
}

TEST_CASE("soft targets are accepted, and a position with one that has a weight is a token") {
  TrainingFixture f;
  CHECK(f.session->capabilities().has_soft_targets);
  std::vector<Datum> datums{{.model_input = ModelInput::from_ints({1, 2, 3}),
                             .loss_fn_inputs = {{"target_tokens", {std::vector<std::int64_t>{4, 5, 6, 7, 8, 9}, {3, 2}}},
                                                {"weights", {std::vector<float>{0, 0, 0.5f, 0.5f, 0, 1}, {3, 2}}}}}};
  const auto out =
      f.call<ForwardBackwardOutput>([&](TrainingSession& s, auto done) { s.forward_backward(datums, {}, {}, std::move(done)); });
  CHECK(out.value().metrics.at("num_tokens") == 2);
}

TEST_CASE("an optimizer step behind a failed forward_backward fails, changes nothing, and forgets the gradient") {
  TrainingFixture f, clean;
  const auto before = f.digest();
  f.forward_backward(1);
  auto failed = f.forward_backward(2, {}, {.name = "ppo"});
  auto step = f.optim_step();
  run_all(*f.clock);
  CHECK(failed.error().code == ErrorCode::invalid_input);
  CHECK(failed.error().message.find("\"ppo\"") != std::string::npos);
  CHECK(step.error().code == ErrorCode::invalid_input);
  CHECK(f.digest() == before);
  f.forward_backward(3);
  f.optim_step();
  clean.forward_backward(3);
  clean.optim_step();
  CHECK(f.digest() == clean.digest());
}

TEST_CASE("a stopped operation that has not begun answers at once, and its turn is still its turn") {
  TrainingFixture f({.latency = {.mean_ms = 10}}), clean({.latency = {.mean_ms = 10}});
  std::stop_source stop;
  auto one = f.forward_backward(1);
  auto step_one = f.optim_step();
  auto two = f.forward_backward(2, stop.get_token());
  auto step_two = f.optim_step();
  auto three = f.forward_backward(3);
  auto step_three = f.optim_step();
  stop.request_stop();
  CHECK(!two.is_there());
  const auto start = f.clock->now();
  while (!two.is_there()) REQUIRE(f.clock->advance());
  CHECK(f.clock->now() == start);
  CHECK(!one.is_there());
  CHECK(two.error().code == ErrorCode::cancelled);
  run_all(*f.clock);
  CHECK(one.is_ok());
  CHECK(step_one.is_ok());  // it stands before the one that was stopped
  CHECK(step_two.error().code == ErrorCode::cancelled);
  CHECK(three.is_ok());
  CHECK(step_three.is_ok());
  CHECK(two.calls() == 1);
  for (const int n : {1, 3}) {
    clean.forward_backward(n);
    clean.optim_step();
  }
  CHECK(f.digest() == clean.digest());
  CHECK(f.session->close());
}

TEST_CASE("an operation that has begun is finished, and one with a stop before the call is not begun") {
  TrainingFixture f;
  std::stop_source stop;
  auto begun = f.forward_backward(1, stop.get_token());
  stop.request_stop();
  auto stopped = f.forward_backward(2, stop.get_token());
  CHECK(!stopped.is_there());
  run_all(*f.clock);
  CHECK(begun.is_ok());
  CHECK(stopped.error().code == ErrorCode::cancelled);

  TrainingFixture idle;
  auto first = idle.forward_backward(1, stop.get_token());
  CHECK(!first.is_there());
  auto step = idle.optim_step();
  run_all(*idle.clock);
  CHECK(first.error().code == ErrorCode::cancelled);
  CHECK(step.error().code == ErrorCode::cancelled);
  CHECK(idle.session->usage().compute == 0ms);
}

TEST_CASE("fail_at_step fails the forward_backward of that step, and the step") {
  TrainingFixture f({.fail_at_step = 2});
  for (int n = 0; n < 4; ++n) {
    auto a = f.forward_backward(n);
    auto b = f.optim_step();
    run_all(*f.clock);
    CHECK(a.is_ok() == (n < 2));
    CHECK(b.is_ok() == (n < 2));
    if (n >= 2) CHECK(a.error().code == ErrorCode::backend_failed);
    if (n >= 2) CHECK(b.error().code == ErrorCode::backend_failed);
  }
}

TEST_CASE("a snapshot is the weights of its turn, whatever comes later") {
  TrainingFixture f({.latency = {.mean_ms = 10}});
  Answer<std::shared_ptr<SamplingSession>> before, after;
  f.session->snapshot({}, before.completion());
  f.forward_backward(1);
  f.optim_step();
  f.session->snapshot({}, after.completion());
  run_all(*f.clock);
  const auto ask = [&](SamplingSession& session) {
    Answer<SampledSequence> a;
    session.sample({ModelInput::from_ints({1, 2}), {.max_tokens = 20, .seed = 3}}, {}, a.completion());
    run_all(*f.clock);
    return a.value();
  };
  const auto first = ask(*before.value());
  CHECK(first != ask(*after.value()));
  f.forward_backward(2);
  f.optim_step();
  CHECK(first == ask(*before.value()));
  CHECK(f.session->usage().tokens > 6);  // the snapshots' answers are the student's work
  CHECK(f.options.snapshot_counters->opened == 2);
  CHECK(f.options.snapshot_counters->peak_live == 2);
  CHECK(before.value()->close());
  before.value().reset();
  after.value().reset();
  CHECK(f.options.snapshot_counters->closed == 1);
  CHECK(f.options.snapshot_counters->dropped == 1);
}

TEST_CASE("a state goes to disk and back with its gradient, and training continues as if it had not") {
  const TempDir dir;
  TrainingFixture f, other({}, 99);
  f.forward_backward(1);
  f.optim_step();
  f.forward_backward(2);
  const auto captured = f.call<std::shared_ptr<const TrainingState>>([](auto& s, auto done) { s.capture_state({}, done); }).value();
  const auto digest = f.digest();
  f.optim_step();  // is no part of it
  const auto state = dir.path() / "state";
  CHECK(captured->save(state).error().message.find("cannot create " + state.string()) == 0);
  std::filesystem::create_directory(state);
  CHECK(captured->save(state));
  CHECK(other.call<std::monostate>([&](auto& s, auto done) { s.load_state(state, {}, done); }).is_ok());
  CHECK(other.digest() == digest);
  CHECK(f.call<std::monostate>([&](auto& s, auto done) { s.load_state(state, {}, done); }).is_ok());
  f.optim_step();
  other.optim_step();
  CHECK(other.digest() == f.digest());
  const auto missing = f.call<std::monostate>([&](auto& s, auto done) { s.load_state(dir.path() / "none", {}, done); });
  CHECK(missing.error().code == ErrorCode::invalid_input);
  for (const char* wrong : {"{", "[]", "{}", R"({"weights":"12","optim_steps":0})", R"({"weights":5})"}) {
    dir.write("simulated.json", wrong);
    const auto bad = f.call<std::monostate>([&](auto& s, auto done) { s.load_state(dir.path(), {}, done); });
    CHECK(bad.error().message.starts_with((dir.path() / "simulated.json").string()));
  }
}

TEST_CASE("a snapshot goes to disk and back and answers as before, whatever the student has learned since") {
  const TempDir dir;
  TrainingFixture f;
  f.forward_backward(1);
  f.optim_step();
  const auto early = f.call<std::shared_ptr<SamplingSession>>([](auto& s, auto done) { s.snapshot({}, done); }).value();
  f.forward_backward(2);
  f.optim_step();
  CHECK(early->save_weights(dir.path()));
  const auto digest = f.digest();
  const auto again = f.call<std::shared_ptr<SamplingSession>>([&](auto& s, auto done) { s.load_snapshot(dir.path(), {}, done); }).value();
  CHECK(f.digest() == digest);
  const auto answer = [&](SamplingSession& session) {
    Answer<SampledSequence> a;
    session.sample({ModelInput::from_ints({1, 2}), {.max_tokens = 20, .seed = 3}}, {}, a.completion());
    run_all(*f.clock);
    return a.value();
  };
  CHECK(answer(*again) == answer(*early));
  const auto missing = f.call<std::shared_ptr<SamplingSession>>([&](auto& s, auto done) { s.load_snapshot(dir.path() / "none", {}, done); });
  CHECK(missing.error().code == ErrorCode::invalid_input);
}

TEST_CASE("exported weights open as a student and as a sampler") {
  const TempDir dir;
  TrainingFixture f;
  f.forward_backward(1);
  f.optim_step();
  CHECK(f.call<std::monostate>([&](auto& s, auto done) { s.export_weights(dir.path(), {}, done); }).is_ok());
  CHECK(TrainingFixture({}, 1, dir.path().string()).digest() == f.digest());
  Answer<std::shared_ptr<SamplingSession>> snapshot;
  f.session->snapshot({}, snapshot.completion());
  Answer<std::unique_ptr<SamplingSession>> opened;
  SimulatedSamplingClient({}, f.clock).start_session({dir.path().string(), ""}, {}, opened.completion());
  run_all(*f.clock);
  Answer<SampledSequence> a, b;
  snapshot.value()->sample({ModelInput::from_ints({1}), {.seed = 3}}, {}, a.completion());
  opened.value()->sample({ModelInput::from_ints({1}), {.seed = 3}}, {}, b.completion());
  run_all(*f.clock);
  CHECK(a.value() == b.value());
}

TEST_CASE("the snapshots of a student that does not repeat itself do not either, and it trains the same") {
  TrainingFixture f({.repeatable = false}), repeatable;
  for (auto* student : {&f, &repeatable}) student->forward_backward(1), student->optim_step();
  CHECK(f.digest() == repeatable.digest());
  std::set<std::vector<Token>> answers;
  for (int i = 0; i < 4; ++i) {
    const auto snapshot = f.call<std::shared_ptr<SamplingSession>>([](auto& s, auto done) { s.snapshot({}, done); }).value();
    CHECK(!snapshot->capabilities().is_repeatable());
    Answer<SampledSequence> answer;
    snapshot->sample({ModelInput::from_ints({1}), {.max_tokens = 20, .seed = 3}}, {}, answer.completion());
    run_all(*f.clock);
    answers.insert(answer.value().tokens);
  }
  CHECK(answers.size() == 4);
}

TEST_CASE("a training session refuses to close over outstanding operations") {
  TrainingFixture f;
  auto a = f.forward_backward(1);
  CHECK(f.session->close().error().code == ErrorCode::internal);
  run_all(*f.clock);
  CHECK(f.session->close());
  CHECK(f.session->close());
  auto b = f.forward_backward(2);
  run_all(*f.clock);
  CHECK(b.error().code == ErrorCode::internal);
  f.session.reset();
  CHECK(f.options.counters->closed == 1);
  CHECK(f.options.counters->dropped == 0);

  TrainingFixture dropped;
  auto c = dropped.forward_backward(1);
  dropped.session.reset();
  CHECK(dropped.options.counters->dropped == 1);
  run_all(*dropped.clock);
  CHECK(c.is_ok());
}

TEST_CASE("the training factory reads its section, with defaults, and names what is wrong") {
  auto clock = std::make_shared<SimulatedClock>();
  const auto make = [&](const char* json) { return make_training_client(boost::json::parse(json).as_object(), clock); };
  const auto client = make(R"({"client":"simulated","latency":{"mean_ms":3},"fail_at_step":1})").value();
  CHECK(client->capabilities().is_deterministic);
  CHECK(client->capabilities().can_sample_snapshots_in_training);
  CHECK(make(R"({"client":"tinker"})").error().message.find("\"tinker\"") != std::string::npos);
  CHECK(make(R"({"client":"simulated","fail_at_step":"x"})").error().message == "fail_at_step must be a whole number");
  CHECK(make(R"({"client":"simulated","fail_at_step":-2})").error().message.starts_with("fail_at_step"));
  CHECK(make(R"({"client":"torch","compute_threads":"x"})").error().message == "compute_threads must be a whole number");
  CHECK(make(R"({"client":"torch","compute_threads":0})").error().message.find("compute_threads") != std::string::npos);
  const auto descriptions = describe_training_clients();
  REQUIRE(descriptions.size() == 2);
  CHECK(descriptions[0].name == "simulated");
  CHECK(descriptions[1].name == "torch");
}
