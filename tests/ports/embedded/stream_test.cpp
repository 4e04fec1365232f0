// sample_stream(): the tokens of sample(), as they are sampled.
#include <mutex>
#include <stop_token>

#include "tests/ports/embedded/support.hpp"

using namespace pipestill;
using namespace pipestill::test;

namespace {

/// What a request's handlers saw.
struct Seen {
  std::mutex mutex;
  SampledSequence handed_over;
  bool is_done = false;
  int late = 0, during_others = 0;  ///< tokens after the answer; tokens while another's handler ran
  std::promise<Result<SampledSequence>> answer;
};

struct Stream {
  std::shared_ptr<Seen> seen = std::make_shared<Seen>();
  std::future<Result<SampledSequence>> future = seen->answer.get_future();

  void start(SamplingSession& session, SampleRequest request, std::stop_token stop = {}, std::function<void(const Seen&)> on_token = {}) {
    session.sample_stream(
        std::move(request), std::move(stop),
        [seen = seen, on_token = std::move(on_token)](Token token, Logprob logprob) {
          {
            const std::unique_lock lock(seen->mutex, std::try_to_lock);
            seen->during_others += !lock;
            seen->late += seen->is_done;
            seen->handed_over.tokens.push_back(token);
            seen->handed_over.logprobs.push_back(logprob);
          }
          if (on_token) on_token(*seen);
        },
        Completion<SampledSequence>([seen = seen](Result<SampledSequence> answer) {
          seen->is_done = true;
          seen->answer.set_value(std::move(answer));
        }));
  }
  Result<SampledSequence> wait() {
    REQUIRE(future.wait_for(std::chrono::seconds(60)) == std::future_status::ready);
    return future.get();
  }
};

}  // namespace

TEST_CASE("a streamed answer is the one that sample() gives, and every token comes before it") {
  const auto session = open_teacher(shipped_teacher().string());
  CHECK(session->capabilities().can_stream);
  std::vector<SampleRequest> requests;
  for (int r = 0; r < 100; ++r) requests.push_back(request_of(r));
  const auto answers = sample_all(*session, requests);
  std::vector<Stream> streams(requests.size());
  for (std::size_t i = 0; i < streams.size(); ++i) streams[i].start(*session, requests[i]);
  for (std::size_t i = 0; i < streams.size(); ++i) {
    const auto answer = value_of(streams[i].wait());
    CHECK(answer == *answers[i]);
    CHECK(streams[i].seen->handed_over.tokens == answer.tokens);
    CHECK(streams[i].seen->handed_over.logprobs == answer.logprobs);
    CHECK(streams[i].seen->late == 0);
    CHECK(streams[i].seen->during_others == 0);
  }
  CHECK(session->close());
}

TEST_CASE("tokens come while the answer is still being sampled, and a stop from their handler ends it there") {
  const TemporaryDirectory directory;
  auto config = small_config();
  config.max_position_embeddings = 4096;
  make_model(directory.path(), config);
  const auto session = open_teacher(directory.path().string());
  SampleRequest request;
  request.prompt = ModelInput::from_ints({1});
  request.params.max_tokens = 4000;
  const auto whole = [&] {
    auto shorter = request;
    shorter.params.max_tokens = 5;
    return value_of(sample_one(*session, shorter));
  }();
  std::stop_source stop;
  Stream stream;
  stream.start(*session, request, stop.get_token(), [&](const Seen& seen) {
    if (seen.handed_over.tokens.size() == 5) stop.request_stop();
  });
  const auto answer = stream.wait();
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == ErrorCode::cancelled);
  CHECK(stream.seen->handed_over.tokens == whole.tokens);  // and no sixth
  CHECK(stream.seen->handed_over.logprobs == whole.logprobs);

  // With the last token the answer was whole, so it is given.
  std::stop_source at_the_end;
  request.params.max_tokens = 5;
  Stream finished;
  finished.start(*session, request, at_the_end.get_token(), [&](const Seen& seen) {
    if (seen.handed_over.tokens.size() == 5) at_the_end.request_stop();
  });
  CHECK(value_of(finished.wait()) == whole);
  CHECK(session->close());
}

TEST_CASE("a stream that is refused, stopped before it begins, or left behind hands nothing over and ends once") {
  const auto session = open_teacher(shipped_teacher().string());
  std::stop_source stop;
  stop.request_stop();
  Stream stopped, refused;
  stopped.start(*session, request_of(2), stop.get_token());
  refused.start(*session, {ModelInput::from_ints({}), {}});
  CHECK(stopped.wait().error().code == ErrorCode::cancelled);
  CHECK(refused.wait().error().code == ErrorCode::invalid_input);
  CHECK(stopped.seen->handed_over.tokens.empty());
  CHECK(refused.seen->handed_over.tokens.empty());
  REQUIRE(session->close());
  Stream late;
  late.start(*session, request_of(2));
  CHECK(late.wait().error().code == ErrorCode::cancelled);
  CHECK(late.seen->handed_over.tokens.empty());
}
