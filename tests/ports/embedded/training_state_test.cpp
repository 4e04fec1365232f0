// What changes a student and what must not: failures, stops, snapshots, saving.
#include <limits>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <filesystem>
#include <stop_token>

#include "ports/embedded/safetensors.hpp"
#include "ports/text_file.hpp"
#include "tests/ports/embedded/support.hpp"

using namespace pipestill;
using namespace pipestill::test;

namespace {

void train(TrainingSession& student, int from, int to) {
  for (int i = from; i < to; ++i) {
    REQUIRE(forward_backward(student, make_batch(12, i)));
    REQUIRE(optim_step(student, {.learning_rate = 5e-3, .grad_clip_norm = 1}));
  }
}

}  // namespace

TEST_CASE("datums that do not fit are refused by their index and change nothing") {
  const TemporaryDirectory directory;
  const auto student = open_student(config_in(directory));
  const auto before = digest(*student);
  const auto good = make_datum({1, 2, 3});
  const auto refusal = [&](Datum bad, Loss loss = {}) {
    const auto out = forward_backward(*student, {good, std::move(bad)}, std::move(loss));
    REQUIRE_FALSE(out);
    CHECK(out.error().code == ErrorCode::invalid_input);
    const auto step = optim_step(*student);
    REQUIRE_FALSE(step);
    CHECK(step.error().message.find("failed or was cancelled") != std::string::npos);
    CHECK(digest(*student) == before);
    return out.error().message;
  };
  auto datum = good;
  datum.loss_fn_inputs["weights"] = {std::vector<float>{1}, {1}};
  CHECK(refusal(datum).find("datum 1 has 2 input tokens") != std::string::npos);
  datum.loss_fn_inputs.erase("weights");
  CHECK(refusal(datum).find("datum 1 lacks weights") != std::string::npos);
  datum = good;
  datum.loss_fn_inputs["target_tokens"] = {std::vector<float>{1, 2}, {2}};
  CHECK(refusal(datum).find("not int64") != std::string::npos);
  CHECK(refusal(make_datum({1, 40})).find("token 40 at position 0") != std::string::npos);
  CHECK(refusal(make_datum(std::vector<Token>(66, 1))).find("max_position_embeddings") != std::string::npos);
  CHECK(refusal(make_datum({1, 2}, {std::numeric_limits<float>::quiet_NaN()})).find("not finite") != std::string::npos);
  CHECK(refusal(Datum{}).find("datum 1") != std::string::npos);
  CHECK(refusal(good, {"ppo", Normalization::sum}).find("ppo") != std::string::npos);
  CHECK_FALSE(forward(*student, {make_datum({1, 2, 3}, {0, 0})}));
  CHECK_FALSE(forward(*student, {make_datum({1, 2, 3}, {1, -1})}));
  CHECK_FALSE(forward(*student, {}));
}

TEST_CASE("after a failure the gradient before it is forgotten too, and training goes on") {
  const TemporaryDirectory directory;
  const auto model = config_in(directory);
  const auto student = open_student(model), other = open_student(model);
  REQUIRE(forward_backward(*student, make_batch(4)));
  CHECK_FALSE(forward_backward(*student, {}));
  CHECK_FALSE(optim_step(*student));
  CHECK_FALSE(optim_step(*student));  // and there is no gradient now
  train(*student, 0, 2);
  train(*other, 0, 2);
  CHECK(digest(*student) == digest(*other));
}

TEST_CASE("a loss that is not finite fails and changes nothing") {
  const TemporaryDirectory directory;
  const auto layout = make_layout(small_config());
  std::vector<float> flat(static_cast<std::size_t>(layout.total), 0.25f);
  flat[static_cast<std::size_t>(layout.final_norm) + 3] = std::numeric_limits<float>::quiet_NaN();
  (void)config_in(directory);
  REQUIRE(write_safetensors(directory.path() / "model.safetensors", tensor_views(layout, flat), {}));
  const auto student = open_student(directory.path().string());
  const auto before = digest(*student);
  const auto out = forward_backward(*student, make_batch(4));
  REQUIRE_FALSE(out);
  CHECK(out.error().code == ErrorCode::backend_failed);
  CHECK(out.error().message.find("not finite") != std::string::npos);
  CHECK_FALSE(optim_step(*student));
  CHECK(digest(*student) == before);
  const auto snapshot = value_of(await<std::shared_ptr<SamplingSession>>([&](auto done) { student->snapshot({}, done); }));
  CHECK(sample_one(*snapshot, request_of(2)).error().code == ErrorCode::backend_failed);
}

TEST_CASE("an operation that is stopped before it begins changes nothing") {
  const TemporaryDirectory directory;
  const auto student = open_student(config_in(directory));
  const auto before = digest(*student);
  std::stop_source stop;
  stop.request_stop();
  const auto out = await<ForwardBackwardOutput>([&](auto done) { student->forward_backward(make_batch(4), {}, stop.get_token(), done); });
  CHECK(out.error().code == ErrorCode::cancelled);
  CHECK_FALSE(optim_step(*student));
  CHECK(digest(*student) == before);
  const auto snapshot = await<std::shared_ptr<SamplingSession>>([&](auto done) { student->snapshot(stop.get_token(), done); });
  CHECK(snapshot.error().code == ErrorCode::cancelled);
}

TEST_CASE("operations run in the order of the calls") {
  const TemporaryDirectory directory;
  const auto model = config_in(directory);
  const auto student = open_student(model), other = open_student(model);
  std::atomic<int> ended{0};
  for (int i = 0; i < 6; ++i) {
    student->forward_backward(make_batch(12, i), {}, {}, Completion<ForwardBackwardOutput>([&ended, i](auto r) {
                                CHECK(r.has_value());
                                CHECK(ended++ == 2 * i);
                              }));
    student->optim_step({.learning_rate = 5e-3, .grad_clip_norm = 1}, {}, Completion<OptimStepOutput>([&ended, i](auto r) {
                          CHECK(r.has_value());
                          CHECK(ended++ == 2 * i + 1);
                        }));
  }
  CHECK_FALSE(student->close());
  train(*other, 0, 6);
  CHECK(digest(*student) == digest(*other));
  CHECK(student->close());
  CHECK(student->close());
  CHECK(forward_backward(*student, make_batch(1)).error().code == ErrorCode::cancelled);
}

TEST_CASE("a snapshot keeps the weights of its moment and outlives its student") {
  const TemporaryDirectory directory;
  auto student = open_student(config_in(directory));
  train(*student, 0, 2);
  const auto take = [&] { return value_of(await<std::shared_ptr<SamplingSession>>([&](auto done) { student->snapshot({}, done); })); };
  const auto early = take();
  const auto before = value_of(sample_one(*early, request_of(9)));
  std::promise<Result<SampledSequence>> during;
  early->sample(request_of(9), {}, Completion<SampledSequence>([&](auto r) { during.set_value(std::move(r)); }));
  train(*student, 2, 12);
  CHECK(value_of(during.get_future().get()) == before);
  CHECK(value_of(sample_one(*early, request_of(9))) == before);
  const auto late = take();
  CHECK(value_of(sample_one(*late, request_of(9))).logprobs != before.logprobs);
  CHECK(student->usage().tokens > before.tokens.size());
  (void)value_of(await<std::monostate>([&](auto done) { student->export_weights(directory.path(), {}, done); }));
  student.reset();
  CHECK(value_of(sample_one(*early, request_of(9))) == before);
  CHECK(early->close());
  const auto teacher = open_teacher(directory.path().string());
  CHECK(value_of(sample_one(*teacher, request_of(9))) == value_of(sample_one(*late, request_of(9))));
}

TEST_CASE("a saved state resumes to the same bits") {
  const TemporaryDirectory directory;
  const auto model = config_in(directory);
  const auto state = directory.path() / "state";
  const auto capture = [](TrainingSession& s) { return value_of(await<std::shared_ptr<const TrainingState>>([&](auto done) { s.capture_state({}, done); })); };
  const auto load = [&](TrainingSession& s) { return await<std::monostate>([&](auto done) { s.load_state(state, {}, done); }); };
  const auto straight = open_student(model);
  train(*straight, 0, 3);
  const auto captured = capture(*straight);
  const auto saved = digest(*straight);
  train(*straight, 3, 6);  // changes nothing of what was captured
  CHECK_FALSE(captured->save(state));  // it does not exist yet
  std::filesystem::create_directory(state);
  REQUIRE(captured->save(state));

  const auto resumed = open_student(model, 99);
  REQUIRE(forward_backward(*resumed, make_batch(3)));
  REQUIRE(load(*resumed));
  CHECK(digest(*resumed) == saved);
  CHECK_FALSE(optim_step(*resumed));  // the gradient was of other weights
  train(*resumed, 3, 6);
  CHECK(digest(*resumed) == digest(*straight));

  const auto weights = open_student(state.string());
  CHECK(digest(*weights) == saved);

  const auto before = digest(*resumed);
  std::filesystem::resize_file(state / "optimizer.safetensors", 1000);
  const auto damaged = load(*resumed);
  REQUIRE_FALSE(damaged);
  CHECK(damaged.error().message.find("optimizer.safetensors is truncated") != std::string::npos);
  CHECK(digest(*resumed) == before);
  std::filesystem::remove_all(state);
  CHECK_FALSE(load(*resumed));
}

TEST_CASE("a snapshot's weights go to disk and back, and are no other model's") {
  const TemporaryDirectory directory, saved;
  auto student = open_student(config_in(directory));
  train(*student, 0, 2);
  const auto early = value_of(await<std::shared_ptr<SamplingSession>>([&](auto done) { student->snapshot({}, done); }));
  train(*student, 2, 4);
  REQUIRE(early->save_weights(saved.path()));
  const auto before = digest(*student);
  const auto load = [&](TrainingSession& s) { return await<std::shared_ptr<SamplingSession>>([&](auto done) { s.load_snapshot(saved.path(), {}, done); }); };
  const auto again = value_of(load(*student));
  CHECK(digest(*student) == before);
  CHECK(value_of(sample_one(*again, request_of(9))) == value_of(sample_one(*early, request_of(9))));
  REQUIRE(again->save_weights(directory.path()));  // what was loaded can be saved again
  CHECK(early->close());
  CHECK(early->save_weights(saved.path()).error().code == ErrorCode::invalid_input);
  CHECK(open_teacher(saved.path().string())->save_weights(saved.path()).error().code == ErrorCode::invalid_input);

  auto config = boost::json::parse(*read_text_file(saved.path() / "config.json")).as_object();
  config["rope_theta"] = 5000;
  REQUIRE(write_text_file(saved.path() / "config.json", boost::json::serialize(config)));
  const auto other = load(*student);
  REQUIRE_FALSE(other);
  CHECK(other.error().code == ErrorCode::invalid_input);
}

TEST_CASE("a session that goes away answers what is outstanding") {
  const TemporaryDirectory directory;
  std::vector<std::future<Result<ForwardBackwardOutput>>> answers;
  {
    const auto student = open_student(config_in(directory));
    for (int i = 0; i < 20; ++i) {
      auto answer = std::make_shared<std::promise<Result<ForwardBackwardOutput>>>();
      answers.push_back(answer->get_future());
      student->forward_backward(make_batch(30), {}, {},
                                Completion<ForwardBackwardOutput>([answer](auto r) { answer->set_value(std::move(r)); }));
    }
  }
  for (auto& answer : answers) REQUIRE(answer.wait_for(std::chrono::seconds(30)) == std::future_status::ready);
}
