// Where answers end, what is refused, and how requests are stopped.
#include <span>
#include <stop_token>

#include "ports/tokenizer/tokenizer.hpp"
#include "tests/ports/embedded/support.hpp"

using namespace pipestill;
using namespace pipestill::test;

TEST_CASE("an answer ends at a stop token, which it keeps, at max_tokens, or where positions end") {
  const TemporaryDirectory directory;
  make_model(directory.path(), small_config());
  const auto session = open_teacher(directory.path().string());
  SampleRequest request;
  request.prompt = ModelInput::from_ints({1, 2});
  request.params.max_tokens = 20;
  const auto free = value_of(sample_one(*session, request));
  CHECK(free.tokens.size() == 20);
  CHECK(free.logprobs.size() == 20);
  CHECK(free.stop_reason == StopReason::length);

  auto stopping = request;
  stopping.params.stop = std::vector<Token>{free.tokens[5], 39};
  const auto stopped = value_of(sample_one(*session, stopping));
  REQUIRE_FALSE(stopped.tokens.empty());
  CHECK(stopped.stop_reason == StopReason::stop);
  CHECK((stopped.tokens.back() == free.tokens[5] || stopped.tokens.back() == 39));
  CHECK(stopped.tokens.size() <= 6);
  CHECK(std::equal(stopped.tokens.begin(), stopped.tokens.end(), free.tokens.begin()));

  request.params.max_tokens = 1 << 30;
  request.prompt = ModelInput::from_ints(std::vector<Token>(60, 1));
  const auto full = value_of(sample_one(*session, request));
  CHECK(full.tokens.size() == 5);  // 60 positions of 64 are the prompt's; the last token needs none
  CHECK(full.stop_reason == StopReason::length);
}

TEST_CASE("an answer ends where its text first holds a stop string") {
  const TemporaryDirectory directory;
  make_model(directory.path(), small_config());
  // Forty tokens: one special and 39 characters.
  write_text(
      directory.path() / "chars.json",
      R"({"type":"chars","special_tokens":["<|end|>"],"eos_token":"<|end|>","characters":"abcdefghijklmnopqrstuvwxyz0123456789-+="})");
  const auto session = open_teacher(directory.path().string());
  SampleRequest request;
  request.prompt = ModelInput::from_ints({1, 2});
  request.params.max_tokens = 20;
  const auto free = value_of(sample_one(*session, request));
  const auto tokenizer = value_of(Tokenizer::load(directory.path().string()));
  const auto two = value_of(tokenizer->decode(std::span(free.tokens).subspan(6, 2)));
  request.params.stop = std::vector<std::string>{"never in here", two};
  const auto stopped = value_of(sample_one(*session, request));
  CHECK(stopped.stop_reason == StopReason::stop);
  CHECK(stopped.tokens.size() <= 8);
  CHECK(value_of(tokenizer->decode(stopped.tokens)).ends_with(two));
}

TEST_CASE("requests that mean nothing are refused in words") {
  const TemporaryDirectory directory;
  make_model(directory.path(), small_config());
  const auto session = open_teacher(directory.path().string());
  const auto refusal = [&](std::vector<Token> prompt, SamplingParams params) {
    const auto answer = sample_one(*session, {ModelInput::from_ints(std::move(prompt)), std::move(params)});
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == ErrorCode::invalid_input);
    return answer.error().message;
  };
  CHECK(refusal({}, {}).find("empty") != std::string::npos);
  CHECK(refusal({1, 40}, {}).find("token 40 at position 1") != std::string::npos);
  CHECK(refusal({-1}, {}).find("token -1") != std::string::npos);
  CHECK(refusal(std::vector<Token>(65, 1), {}).find("max_position_embeddings") != std::string::npos);
  CHECK(refusal({1}, {.max_tokens = 0}).find("max_tokens") != std::string::npos);
  CHECK(refusal({1}, {.temperature = -0.5}).find("temperature") != std::string::npos);
  CHECK(refusal({1}, {.top_k = 0}).find("top_k") != std::string::npos);
  CHECK(refusal({1}, {.top_p = 0}).find("top_p") != std::string::npos);
  CHECK(refusal({1}, {.stop = std::vector<std::string>{"x"}}).find("tokenizer") != std::string::npos);
  CHECK_FALSE(await<Score>([&](auto done) { session->compute_logprobs({{}, 0}, {}, done); }));
  CHECK_FALSE(await<Score>([&](auto done) { session->compute_logprobs({{1}, 65}, {}, done); }));
  CHECK(value_of(await<Score>([&](auto done) { session->compute_logprobs({{1}, 1}, {}, done); })).own.size() == 1);
}

TEST_CASE("models that are not there, or not whole, are refused in one sentence") {
  const TemporaryDirectory directory;
  const auto client = value_of(make_torch_sampling_client({}));
  const auto refusal = [&](const std::string& model, const std::string& checkpoint = {}) {
    const auto session = await<std::unique_ptr<SamplingSession>>([&](auto done) { client->start_session({model, checkpoint}, {}, done); });
    REQUIRE_FALSE(session);
    CHECK(session.error().code == ErrorCode::invalid_input);
    CHECK(session.error().message.find('\n') == std::string::npos);
    return session.error().message;
  };
  CHECK(refusal((directory.path() / "none").string()).find("does not exist") != std::string::npos);
  make_model(directory.path(), small_config());
  CHECK(refusal((directory.path() / "config.json").string()).find("without weights") != std::string::npos);
  const auto weights = directory.path() / "model.safetensors";
  std::filesystem::resize_file(weights, std::filesystem::file_size(weights) - 100);
  const auto message = refusal(directory.path().string());
  CHECK(message.find("truncated") != std::string::npos);
  CHECK(message.find("model.norm.weight") != std::string::npos);
}

TEST_CASE("checkpoint_path replaces the weights") {
  const TemporaryDirectory one, two;
  make_model(one.path(), small_config(), 1);
  make_model(two.path(), small_config(), 2);
  const auto client = value_of(make_torch_sampling_client({}));
  const auto answer = [&](const ModelRef& model) {
    const auto session = value_of(await<std::unique_ptr<SamplingSession>>([&](auto done) { client->start_session(model, {}, done); }));
    return value_of(sample_one(*session, request_of(3)));
  };
  const auto own = answer({one.path().string(), ""}), other = answer({two.path().string(), ""});
  CHECK(own.logprobs != other.logprobs);
  CHECK(answer({one.path().string(), two.path().string()}) == other);
  CHECK(answer({(one.path() / "config.json").string(), (two.path() / "model.safetensors").string()}) == other);
}

TEST_CASE("a stop ends its request and no other") {
  const TemporaryDirectory directory;
  auto config = small_config();
  config.max_position_embeddings = 4096;
  make_model(directory.path(), config);
  const auto session = open_teacher(directory.path().string());
  std::stop_source stop, already;
  already.request_stop();
  auto slow = std::make_shared<std::promise<Result<SampledSequence>>>();
  SampleRequest request;
  request.prompt = ModelInput::from_ints({1});
  request.params.max_tokens = 4000;
  session->sample(request, stop.get_token(), Completion<SampledSequence>([slow](auto r) { slow->set_value(std::move(r)); }));
  const auto refused = await<SampledSequence>([&](auto done) { session->sample(request, already.get_token(), done); });
  CHECK(refused.error().code == ErrorCode::cancelled);
  CHECK_FALSE(session->close());
  auto quick = request;
  quick.params.max_tokens = 3;
  const auto alone = value_of(sample_one(*session, quick));
  stop.request_stop();
  auto future = slow->get_future();
  REQUIRE(future.wait_for(std::chrono::seconds(30)) == std::future_status::ready);
  CHECK(future.get().error().code == ErrorCode::cancelled);
  CHECK(value_of(sample_one(*session, quick)) == alone);
  CHECK(session->close());
  CHECK(sample_one(*session, quick).error().code == ErrorCode::cancelled);
}

TEST_CASE("a session that goes away answers what is outstanding") {
  const TemporaryDirectory directory;
  auto config = small_config();
  config.max_position_embeddings = 4096;
  make_model(directory.path(), config);
  std::vector<std::future<Result<SampledSequence>>> answers;
  {
    const auto session = open_teacher(directory.path().string());
    for (int i = 0; i < 100; ++i) {
      auto answer = std::make_shared<std::promise<Result<SampledSequence>>>();
      answers.push_back(answer->get_future());
      SampleRequest request;
      request.prompt = ModelInput::from_ints({1});
      request.params.max_tokens = 4000;
      session->sample(request, {}, Completion<SampledSequence>([answer](auto r) { answer->set_value(std::move(r)); }));
    }
  }
  for (auto& answer : answers) {
    REQUIRE(answer.wait_for(std::chrono::seconds(30)) == std::future_status::ready);
    CHECK(answer.get().error().code == ErrorCode::cancelled);
  }
}

TEST_CASE("a handler may destroy the session that called it") {
  const TemporaryDirectory directory;
  make_model(directory.path(), small_config());
  auto session = std::make_shared<std::unique_ptr<SamplingSession>>(open_teacher(directory.path().string()));
  std::promise<void> gone;
  (*session)->sample(request_of(1), {}, Completion<SampledSequence>([&](auto) {
                       session->reset();
                       gone.set_value();
                     }));
  CHECK(gone.get_future().wait_for(std::chrono::seconds(30)) == std::future_status::ready);
}

TEST_CASE("usage counts sampled tokens and compute time") {
  const TemporaryDirectory directory;
  make_model(directory.path(), small_config());
  const auto session = open_teacher(directory.path().string());
  const auto before = session->usage();
  CHECK(before.tokens == 0);
  CHECK(before.compute.count() > 0);  // loading
  const auto answer = value_of(sample_one(*session, request_of(5)));
  CHECK(session->usage().tokens == answer.tokens.size());
  CHECK(session->usage().compute > before.compute);
}
