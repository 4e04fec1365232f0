#include "ports/checkpoint/answer_store.hpp"

#include <doctest/doctest.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <csignal>
#include <future>
#include <limits>
#include <pcg_random.hpp>

#include "ports/checkpoint/answer_codec.hpp"
#include "ports/fault_point.hpp"
#include "ports/sampling/simulated_sampling_client.hpp"
#include "ports/sampling/stored_sampling_client.hpp"
#include "ports/text_file.hpp"
#include "tests/ports/support.hpp"

using namespace pipestill;
using namespace pipestill::testing;
namespace fs = std::filesystem;

namespace {

bool same_float(float a, float b) { return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b); }
bool same_logprobs(const std::vector<Logprob>& a, const std::vector<Logprob>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Logprob& x, const Logprob& y) { return x.has_value() == y.has_value() && (!x || same_float(*x, *y)); });
}
bool same_score(const Score& a, const Score& b) {
  return same_logprobs(a.own, b.own) && std::equal(a.top.begin(), a.top.end(), b.top.begin(), b.top.end(), [](const auto& x, const auto& y) {
           return std::equal(x.begin(), x.end(), y.begin(), y.end(), [](const auto& e, const auto& f) { return e.first == f.first && same_float(e.second, f.second); });
         });
}

float uniform(pcg32& random, float low, float high) { return low + (high - low) * static_cast<float>(random()) / 4294967296.0f; }

/// Scores as models give them: best first, over a vocabulary of 2^18.
Score likely_score(pcg32& random, std::size_t positions, std::size_t k) {
  Score score;
  for (std::size_t i = 0; i < positions; ++i) {
    score.own.push_back(i == 0 ? Logprob() : Logprob(uniform(random, -20, 0)));
    auto& top = score.top.emplace_back();
    if (i == 0) continue;
    std::vector<float> logprobs(k);
    for (auto& value : logprobs) value = -std::exp(uniform(random, -18, 3));
    std::sort(logprobs.begin(), logprobs.end(), std::greater<>());
    for (const float value : logprobs) top.emplace_back(static_cast<Token>(random(1u << 18)), value);
  }
  return score;
}

std::optional<std::string> found_in(AnswerStore& store, const Sha256Digest& key, const std::string& kind = "sample") {
  std::promise<Result<std::optional<std::string>>> found;
  store.find(key, kind, [&](Result<std::optional<std::string>> r) { found.set_value(std::move(r)); });
  auto result = found.get_future().get();
  REQUIRE_MESSAGE(result, result.error().message);
  return *result;
}
Result<std::string> committed_to(AnswerStore& store, const Sha256Digest& key, const std::string& payload) {
  std::promise<Result<std::string>> kept;
  store.commit(key, "sample", payload, [&](Result<std::string> r) { kept.set_value(std::move(r)); });
  return kept.get_future().get();
}
Sha256Digest key_of(int number) { return sha256("key " + std::to_string(number)); }

/// Asks for all at once: what the file holds then.
std::vector<std::string> committed_range(AnswerStore& store, int begin, int end, const std::string& prefix) {
  std::vector<std::string> kept;
  for (int i = begin; i < end; ++i) {
    store.commit(key_of(i), "sample", prefix + std::to_string(i), [&](Result<std::string> r) { kept.push_back(r ? *r : r.error().message); });
  }
  std::promise<void> done;
  store.post([&] { done.set_value(); });
  done.get_future().get();
  return kept;
}
std::vector<std::string> numbered(const std::string& prefix, int begin, int end) {
  std::vector<std::string> all;
  for (int i = begin; i < end; ++i) all.push_back(prefix + std::to_string(i));
  return all;
}
std::int64_t number_in(const fs::path& file, const std::string& sql) {
  sqlite3* database = nullptr;
  sqlite3_stmt* statement = nullptr;
  REQUIRE(sqlite3_open(file.c_str(), &database) == SQLITE_OK);
  REQUIRE(sqlite3_prepare_v2(database, sql.c_str(), -1, &statement, nullptr) == SQLITE_OK);
  REQUIRE(sqlite3_step(statement) == SQLITE_ROW);
  const auto number = sqlite3_column_int64(statement, 0);
  sqlite3_finalize(statement);
  sqlite3_close(database);
  return number;
}

void change_file(const fs::path& file, const std::string& sql) {
  sqlite3* database = nullptr;
  REQUIRE(sqlite3_open(file.c_str(), &database) == SQLITE_OK);
  CHECK(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_close(database);
}

/// Counts what is asked of the model behind it.
class CountingClient final : public SamplingClient {
 public:
  struct Session final : SamplingSession {
    std::shared_ptr<std::atomic<int>> asked;
    int salt;
    SamplingCapabilities able{.is_seeded = true, .has_logprobs = true, .has_prompt_logprobs = true, .max_top_k = 8};
    Session(std::shared_ptr<std::atomic<int>> a, int s) : asked(std::move(a)), salt(s) {}
    void sample(SampleRequest request, std::stop_token, Completion<SampledSequence> done) override {
      const int turn = ++*asked;
      if (request.params.seed == 666) return std::thread([done = std::move(done)] { done(fail(ErrorCode::backend_failed, "no answer")); }).detach();
      std::thread([turn, salt = salt, done = std::move(done)] { done(SampledSequence{{turn, salt, 3}, {-0.5f, std::nullopt, -0.25f}, StopReason::length}); }).detach();
    }
    void compute_logprobs(ScoreRequest request, std::stop_token, Completion<Score> done) override {
      const int turn = ++*asked;
      std::thread([turn, request = std::move(request), done = std::move(done)] { done(Score{{std::nullopt, -static_cast<float>(turn)}, {{}, {{static_cast<Token>(request.tokens.size()), -1.0f}}}}); }).detach();
    }
    const SamplingCapabilities& capabilities() const override { return able; }
    ModelUsage usage() const override { return {}; }
    Result<void> close() override { return {}; }
  };
  explicit CountingClient(int s = 1, std::string name = "model") : salt(s), identity(std::move(name)) {}
  std::shared_ptr<std::atomic<int>> asked = std::make_shared<std::atomic<int>>(0);
  int salt;
  std::string identity;
  void start_session(ModelRef, std::stop_token, Completion<std::unique_ptr<SamplingSession>> done) override {
    std::thread([asked = asked, salt = salt, done = std::move(done)] { done(std::make_unique<Session>(asked, salt)); }).detach();
  }
  Result<std::string> model_identity(const ModelRef&) const override { return identity; }
  SamplingCapabilities capabilities() const override { return {.is_seeded = true, .has_logprobs = true, .has_prompt_logprobs = true, .max_top_k = 8, .can_stream = true}; }
};

template <class T, class Start>
Result<T> waited(Start&& start) {
  auto promise = std::make_shared<std::promise<Result<T>>>();
  auto future = promise->get_future();
  start(Completion<T>([promise](Result<T> r) { promise->set_value(std::move(r)); }));
  return future.get();
}
std::unique_ptr<SamplingSession> open_session(SamplingClient& client) {
  return waited<std::unique_ptr<SamplingSession>>([&](auto done) { client.start_session({"m", ""}, {}, std::move(done)); }).value();
}
Result<SampledSequence> sampled(SamplingSession& session, SampleRequest request) {
  return waited<SampledSequence>([&](auto done) { session.sample(std::move(request), {}, std::move(done)); });
}
SampleRequest request_with(std::uint64_t seed, double temperature = 1) { return {ModelInput::from_ints({1, 2, 3}), {.max_tokens = 5, .temperature = temperature, .seed = seed}}; }

}  // namespace

TEST_CASE("answers come back to the bit, whatever is in them") {
  pcg32 random(7);
  const std::vector<float> odd{0.0f, -0.0f, -1e-45f, std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity(), 3.5f, -700.25f};
  for (int round = 0; round < 300; ++round) {
    SampledSequence sample{.stop_reason = round % 2 ? StopReason::stop : StopReason::length};
    const auto length = random(40);
    for (unsigned i = 0; i < length; ++i) {
      sample.tokens.push_back(static_cast<Token>(random(round % 3 ? 1u << 18 : 0x7fffffffu)));
      sample.logprobs.push_back(random(5) == 0 ? Logprob() : Logprob(random(4) == 0 ? odd[random(7)] : uniform(random, -30, 0)));
    }
    if (round % 7 == 0) sample.logprobs.clear();
    const auto back = decode_sample(encode_answer(sample));
    REQUIRE(back);
    CHECK(back->tokens == sample.tokens);
    CHECK(back->stop_reason == sample.stop_reason);
    CHECK(same_logprobs(back->logprobs, sample.logprobs));

    auto score = likely_score(random, random(12), random(30));
    if (round % 2) {  // nothing that a model would say: unsorted, positive, no numbers, tokens twice
      for (auto& top : score.top) {
        for (auto& entry : top) {
          if (random(3) == 0) entry = {static_cast<Token>(random(9)), odd[random(7)]};
        }
      }
    }
    const auto again = decode_score(encode_answer(score));
    REQUIRE(again);
    CHECK(same_score(*again, score));
  }
}

TEST_CASE("a position with K entries takes at most 6 K + 16 bytes") {
  pcg32 random(8);
  for (const std::size_t k : {1u, 2u, 5u, 20u, 64u, 100u, 128u, 256u, 1000u, 4096u}) {
    constexpr std::size_t kPositions = 200;
    const auto score = likely_score(random, kPositions, k);
    CHECK(encode_answer(score).size() <= kPositions * (6 * k + 16));
    Score certain;  // the first is sure, to the last bit, and the others are not: the largest step that there is
    for (std::size_t i = 0; i < kPositions; ++i) {
      certain.own.push_back(-0.0f);
      auto& top = certain.top.emplace_back();
      for (std::size_t j = 0; j < k; ++j) top.emplace_back((1 << 18) - 1 - static_cast<Token>(j), j == 0 ? -0.0f : -16.0f - static_cast<float>(j));
    }
    CHECK(encode_answer(certain).size() <= kPositions * (6 * k + 16));
  }
}

TEST_CASE("bytes that are no answer are refused, and cost no memory") {
  pcg32 random(9);
  const auto sample = encode_answer(SampledSequence{{1, 200, 70000}, {-1.0f, std::nullopt, -2.0f}, StopReason::stop});
  const auto score = encode_answer(likely_score(random, 5, 9));
  CHECK(!decode_sample(""));
  CHECK(!decode_sample(score));
  CHECK(!decode_score(sample));
  CHECK(!decode_sample(sample + "x"));
  CHECK(!decode_sample(std::string("\x01\x00\xff\xff\xff\xff\x7f", 7)));
  CHECK(!decode_score(std::string("\x02\x00\xff\xff\xff\xff\x7f", 7)));
  for (const auto& whole : {sample, score}) {
    for (std::size_t cut = 0; cut < whole.size(); ++cut) {
      CHECK(!decode_sample(std::string_view(whole).substr(0, cut)));
      CHECK(!decode_score(std::string_view(whole).substr(0, cut)));
    }
    for (int round = 0; round < 2000; ++round) {  // a wrong bit is refused, or is another answer: never a crash
      auto wrong = whole;
      wrong[random(static_cast<std::uint32_t>(wrong.size()))] ^= static_cast<char>(1u << random(8));
      if (const auto other = decode_sample(wrong)) CHECK(encode_answer(*other).size() <= wrong.size() + 8);
      (void)decode_score(wrong);
    }
  }
}

TEST_CASE("answer store: the first committed answer wins, in one process and between two") {
  const TempDir dir;
  const auto file = dir.path() / "answers.sqlite";
  // The other process is made before this one has threads: what a fork copies of them is not sound. It waits for its turn.
  int turn[2];
  REQUIRE(::pipe(turn) == 0);
  const auto child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    char go = 0;
    if (::read(turn[0], &go, 1) != 1) ::_exit(2);
    ::_exit(committed_to(*AnswerStore::open(file, Durability::process).value(), key_of(1), "a child's") == "one" ? 0 : 1);
  }
  const auto first = AnswerStore::open(file, Durability::process).value(), second = AnswerStore::open(file, Durability::power).value();
  CHECK(!found_in(*first, key_of(1)));
  CHECK(committed_to(*first, key_of(1), "one") == "one");
  CHECK(committed_to(*second, key_of(1), "another") == "one");
  CHECK(found_in(*second, key_of(1)) == "one");
  CHECK(::write(turn[1], "!", 1) == 1);
  ::close(turn[0]), ::close(turn[1]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(second->counts().found == 1);
  CHECK(first->counts().committed == 1);
}

TEST_CASE("answer store: two processes that fill one file at once agree on every answer") {
  const TempDir dir;
  const auto file = dir.path() / "answers.sqlite";
  constexpr int kAnswers = 200;
  const auto fill = [&](const std::string& name) {
    const auto store = AnswerStore::open(file, Durability::process);
    if (!store) return false;
    std::string all;
    for (int i = 0; i < kAnswers; ++i) {
      const auto kept = committed_to(**store, key_of(i), name + std::to_string(i));
      if (!kept) return false;
      all += *kept + "\n";
    }
    return write_text_file(dir.path() / name, all).has_value();
  };
  std::vector<pid_t> children;
  for (const char* name : {"a", "b", "c"}) {
    const auto child = ::fork();
    if (child == 0) ::_exit(fill(name) ? 0 : 1);
    children.push_back(child);
  }
  for (const auto child : children) {
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
  }
  CHECK(read_file(dir.path() / "a") == read_file(dir.path() / "b"));
  CHECK(read_file(dir.path() / "a") == read_file(dir.path() / "c"));
  CHECK(answer_store_stats(file, true).value().answers == kAnswers);
}

TEST_CASE("answer store: while somebody else writes the file a commit waits, and then is made") {
  const TempDir dir;
  const auto file = dir.path() / "answers.sqlite";
  const auto store = AnswerStore::open(file, Durability::process).value();
  REQUIRE(committed_to(*store, key_of(0), "before"));
  sqlite3* other = nullptr;
  REQUIRE(sqlite3_open(file.c_str(), &other) == SQLITE_OK);
  REQUIRE(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr) == SQLITE_OK);
  std::promise<Result<std::string>> kept;
  auto answer = kept.get_future();
  store->commit(key_of(1), "sample", "waited", [&](Result<std::string> r) { kept.set_value(std::move(r)); });
  CHECK(answer.wait_for(std::chrono::milliseconds(30)) == std::future_status::timeout);
  CHECK(store->counts().committed == 1);
  REQUIRE(sqlite3_exec(other, "COMMIT", nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_close(other);
  CHECK(answer.get() == "waited");
  CHECK(found_in(*store, key_of(1)) == "waited");
}

TEST_CASE("answer store: beyond what each remembers, stores of one file agree, and the index of places holds what it says") {
  const TempDir dir;
  const auto file = dir.path() / "answers.sqlite";
  const auto concatenated = [](std::vector<std::string> all, const std::vector<std::string>& more) {
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  const auto one = AnswerStore::open(file, Durability::process).value(), other = AnswerStore::open(file, Durability::process).value();
  CHECK(committed_range(*one, 0, 3000, "one ") == numbered("one ", 0, 3000));  // too few to be placed
  CHECK(number_in(file, "SELECT count(*) FROM places") == 0);
  CHECK(committed_range(*other, 1000, 9000, "other ") == concatenated(numbered("one ", 1000, 3000), numbered("other ", 3000, 9000)));
  const auto placed = number_in(file, "SELECT count(*) FROM places");
  CHECK(placed >= 4096);
  CHECK(number_in(file, "SELECT up_to FROM placed") == placed);
  CHECK(committed_range(*one, 0, 12000, "again ") == concatenated(concatenated(numbered("one ", 0, 3000), numbered("other ", 3000, 9000)), numbered("again ", 9000, 12000)));
  const auto late = AnswerStore::open(file, Durability::process).value();
  for (const int i : {0, 2999, 3000, 8999, 9000, 11999}) {
    const auto expected = (i < 3000 ? "one " : i < 9000 ? "other " : "again ") + std::to_string(i);
    for (const auto& store : {one, other, late, AnswerStore::open_read_only(file).value()}) CHECK(found_in(*store, key_of(i)) == expected);
  }
  CHECK(!found_in(*late, key_of(12000)));
  CHECK(committed_range(*late, 0, 12000, "late ") == committed_range(*other, 0, 12000, "later "));
  CHECK(number_in(file, "SELECT count(*) FROM answers") == 12000);
  CHECK(number_in(file, "SELECT count(DISTINCT key) FROM answers") == 12000);
  CHECK(number_in(file, "SELECT count(*) FROM places JOIN answers USING (id, key)") == number_in(file, "SELECT up_to FROM placed"));
}

TEST_CASE("answer store: what was told to be committed outlives kill -9, again and again") {
  const TempDir dir;
  const auto file = dir.path() / "answers.sqlite";
  pcg32 random(11);
  int known = 0;
  for (int life = 0; life < 12; ++life) {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const auto child = ::fork();
    if (child == 0) {
      const auto store = AnswerStore::open(file, Durability::process).value();
      for (int i = known;; ++i) {
        if (!committed_to(*store, key_of(i), "answer " + std::to_string(i))) ::_exit(1);
        if (::write(ends[1], &i, sizeof i) != sizeof i) ::_exit(1);
      }
    }
    ::close(ends[1]);
    const int lives_for = known + 1 + static_cast<int>(random(40));
    int last = -1;
    while (::read(ends[0], &last, sizeof last) == sizeof last && last < lives_for) {
    }
    ::kill(child, SIGKILL);
    int more = 0;
    while (::read(ends[0], &more, sizeof more) == sizeof more) last = more;
    ::close(ends[0]);
    REQUIRE(::waitpid(child, nullptr, 0) == child);
    known = last + 1;
    const auto store = AnswerStore::open(file, Durability::process).value();
    for (int i = 0; i < known; ++i) CHECK(found_in(*store, key_of(i)) == "answer " + std::to_string(i));
  }
  CHECK(known > 100);
}

TEST_CASE("answer store: a damaged answer is not found, and is replaced by the next one") {
  const TempDir dir;
  const auto file = dir.path() / "answers.sqlite";
  for (int i = 0; i < 3; ++i) CHECK(committed_to(*AnswerStore::open(file, Durability::process).value(), key_of(i), "payload " + std::to_string(i)));
  change_file(file, "UPDATE answers SET payload = CAST('another' AS BLOB) WHERE key = x'" + to_hex(key_of(1)) + "'; UPDATE answers SET kind = 'score' WHERE key = x'" + to_hex(key_of(2)) + "'");
  CHECK(answer_store_stats(file, true).value().damaged == 2);
  CHECK(answer_store_stats(file, false).value().answers == 3);
  const auto store = AnswerStore::open(file, Durability::process).value();
  CHECK(found_in(*store, key_of(0)) == "payload 0");
  CHECK(!found_in(*store, key_of(1)));
  CHECK(store->counts().damaged == 1);
  CHECK(!found_in(*store, key_of(2)));
  CHECK(committed_to(*store, key_of(1), "again") == "again");
  CHECK(found_in(*store, key_of(1)) == "again");
  CHECK(committed_to(*store, key_of(2), "again too") == "again too");
  CHECK(found_in(*store, key_of(2)) == "again too");
  CHECK(answer_store_stats(file, true).value().damaged == 0);
}

TEST_CASE("answer store: an index of places that is wrong hides answers, and harms none") {
  const TempDir dir;
  const auto file = dir.path() / "answers.sqlite";
  for (int i = 0; i < 4; ++i) CHECK(committed_to(*AnswerStore::open(file, Durability::process).value(), key_of(i), "payload " + std::to_string(i)));
  // 0 and 1 are said to stand in each other's place, 2 where nothing is, 3 nowhere.
  change_file(file, "INSERT INTO places SELECT key, 3 - id FROM answers WHERE id < 3; INSERT INTO places SELECT key, 77 FROM answers WHERE id = 3; INSERT INTO placed VALUES (0, 4)");
  {
    const auto store = AnswerStore::open(file, Durability::process).value();
    for (int i = 0; i < 4; ++i) CHECK(!found_in(*store, key_of(i)));
    for (int i = 0; i < 4; ++i) CHECK(committed_to(*store, key_of(i), "again " + std::to_string(i)) == "again " + std::to_string(i));
    for (int i = 0; i < 4; ++i) CHECK(found_in(*store, key_of(i)) == "again " + std::to_string(i));
    CHECK(committed_range(*store, 10, 5000, "") == numbered("", 10, 5000));  // so that they are placed
  }
  const auto store = AnswerStore::open(file, Durability::process).value();
  for (int i = 0; i < 4; ++i) CHECK(found_in(*store, key_of(i)) == "again " + std::to_string(i));
  CHECK(number_in(file, "SELECT count(*) FROM answers WHERE payload = CAST('payload 0' AS BLOB) OR payload = CAST('payload 1' AS BLOB)") == 2);
  CHECK(answer_store_stats(file, true).value().damaged == 0);
  change_file(file, "UPDATE answers SET id = 9223372036854775807 WHERE id = 1");
  const auto full = committed_to(*AnswerStore::open(file, Durability::process).value(), key_of(5001), "no number is left");
  REQUIRE(!full);
  CHECK(full.error().code == ErrorCode::storage_failed);
  CHECK(full.error().message.find("answers.sqlite is damaged") != std::string::npos);
}

TEST_CASE("answer store: a file that is none, or whose bytes are wrong, is refused or read as far as it is right") {
  const TempDir dir;
  CHECK(AnswerStore::open(dir.write("text", "this is no database, and it is long enough to have a header of one"), Durability::process).error().code == ErrorCode::invalid_input);
  change_file(dir.path() / "other.sqlite", "CREATE TABLE t (a)");
  const auto other = AnswerStore::open(dir.path() / "other.sqlite", Durability::process);
  REQUIRE(!other);
  CHECK(other.error().message.find("is no answer store") != std::string::npos);
  CHECK(AnswerStore::open_read_only(dir.path() / "none").error().code == ErrorCode::invalid_input);

  const auto file = dir.path() / "answers.sqlite";
  for (int i = 0; i < 40; ++i) CHECK(committed_to(*AnswerStore::open(file, Durability::process).value(), key_of(i), std::string(100, static_cast<char>('a' + i % 26))));
  const auto whole = read_file(file);
  for (std::size_t at = 0; at < whole.size(); at += 97) {
    auto wrong = whole;
    wrong[at] ^= 0x55;
    std::ofstream(file, std::ios::binary) << wrong;
    fs::remove(file.string() + "-wal"), fs::remove(file.string() + "-shm");
    const auto read = read_answers(file, [&](const StoredAnswer& answer) {
      if (answer.payload) CHECK(*answer.payload == std::string(100, answer.payload->front()));
    });
    if (!read) CHECK(read.error().message.find("answers.sqlite") != std::string::npos);
  }
}

TEST_CASE("a stored client asks once, and answers what was committed first") {
  const TempDir dir;
  const auto file = dir.path() / "answers.sqlite";
  const auto inner = std::make_shared<CountingClient>(1), other = std::make_shared<CountingClient>(2);
  const auto store = AnswerStore::open(file, Durability::process).value();
  const auto client = make_stored_sampling_client(inner, store, "letters"), second = make_stored_sampling_client(other, store, "letters");
  CHECK(!client->capabilities().can_stream);
  auto session = open_session(*client), again = open_session(*second);
  const auto answer = sampled(*session, request_with(5)).value();
  CHECK(answer == SampledSequence{{1, 1, 3}, {-0.5f, std::nullopt, -0.25f}, StopReason::length});
  CHECK(answer.attempts == 1);
  for (auto* asked : {session.get(), again.get()}) {
    const auto kept = sampled(*asked, request_with(5)).value();
    CHECK(kept == answer);
    CHECK(kept.attempts == 0);
  }
  CHECK(*inner->asked == 1);
  CHECK(*other->asked == 0);
  CHECK(sampled(*session, request_with(6)).value() != answer);
  // At temperature 0 the seed says nothing.
  const auto greedy = sampled(*session, request_with(7, 0)).value();
  CHECK(sampled(*session, request_with(8, 0)).value() == greedy);
  CHECK(*inner->asked == 3);
  const auto score = waited<Score>([&](auto done) { session->compute_logprobs({{4, 5}, 1}, {}, std::move(done)); }).value();
  CHECK(same_score(waited<Score>([&](auto done) { again->compute_logprobs({{4, 5}, 1}, {}, std::move(done)); }).value(), score));
  CHECK(!same_score(waited<Score>([&](auto done) { again->compute_logprobs({{4, 5}, 2}, {}, std::move(done)); }).value(), score));
  // A failure is not an answer.
  for (int i = 0; i < 2; ++i) CHECK(sampled(*session, request_with(666)).error().message == "no answer");
  CHECK(*inner->asked == 6);
  // Tokens are handed over when the answer is there.
  std::vector<Token> streamed;
  CHECK(waited<SampledSequence>([&](auto done) { session->sample_stream(request_with(5), {}, [&](Token token, Logprob) { streamed.push_back(token); }, std::move(done)); }).value() == answer);
  CHECK(streamed == answer.tokens);
  std::stop_source stopped;
  stopped.request_stop();
  CHECK(waited<SampledSequence>([&](auto done) { session->sample(request_with(99), stopped.get_token(), std::move(done)); }).error().code == ErrorCode::cancelled);
  CHECK(*inner->asked == 6);
  CHECK(session->close());
}

TEST_CASE("keys tell apart whatever changes an answer, and nothing else") {
  const auto base = request_with(5);
  const AnswerOrigin origin{"m", "t"};
  std::vector<Sha256Digest> keys{answer_key(origin, base), answer_key({"n", "t"}, base), answer_key({"m", "u"}, base), answer_key({"mt", ""}, base),
                                 answer_key(origin, ScoreRequest{{1, 2, 3}, 0}), answer_key({"m", "u"}, ScoreRequest{{1, 2, 3}, 0}), answer_key(origin, ScoreRequest{{1, 2, 3}, 1}), answer_key(origin, ScoreRequest{{1, 2}, 3})};
  const auto changed = [&](auto change) {
    auto request = base;
    change(request);
    keys.push_back(answer_key(origin, request));
  };
  changed([](auto& r) { r.params.seed = 6; });
  changed([](auto& r) { r.params.max_tokens = 6; });
  changed([](auto& r) { r.params.temperature = 0; });
  changed([](auto& r) { r.params.temperature = 0.5; });
  changed([](auto& r) { r.params.top_k = 6; });
  changed([](auto& r) { r.params.top_p = 0.5; });
  changed([](auto& r) { r.params.stop = std::vector<std::string>{"a", "b"}; });
  changed([](auto& r) { r.params.stop = std::vector<std::string>{"ab"}; });
  changed([](auto& r) { r.params.stop = std::vector<Token>{1}; });
  changed([](auto& r) { r.prompt = ModelInput::from_ints({1, 2, 4}); });
  for (std::size_t i = 0; i < keys.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) CHECK(keys[i] != keys[j]);
  }
  auto chunked = base;
  chunked.prompt = ModelInput{{{{1}}, {{2, 3}}}};
  CHECK(answer_key(origin, chunked) == answer_key(origin, base));
}

TEST_CASE("keys of a student's samples tell every draw of every run apart") {
  const auto base = request_with(5);
  auto later = base, greedy = request_with(5, 0), greedy_later = request_with(6, 0);
  later.params.seed = 6;
  std::vector<Sha256Digest> keys{answer_key({"run", ""}, base), answer_key("run", StudentDraw{}, base), answer_key("another", StudentDraw{}, base), answer_key("run", StudentDraw{}, later)};
  for (const auto member : {&StudentDraw::dataset, &StudentDraw::epoch, &StudentDraw::row, &StudentDraw::sample, &StudentDraw::version}) {
    StudentDraw draw;
    draw.*member = 1;
    keys.push_back(answer_key("run", draw, base));
    keys.push_back(answer_key("run", draw, greedy));  // where no seed does
  }
  for (std::size_t i = 0; i < keys.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) CHECK(keys[i] != keys[j]);
  }
  CHECK(answer_key("run", StudentDraw{}, greedy) == answer_key("run", StudentDraw{}, greedy_later));
}

TEST_CASE("a student draws once, and what it drew is committed before anybody sees it") {
  const TempDir dir;
  const auto file = dir.path() / "answers.sqlite";
  const auto student = std::make_shared<CountingClient::Session>(std::make_shared<std::atomic<int>>(0), 4);
  using Missing = StudentSampleStore::Missing;
  const auto drawn = [&](const StudentSampleStore& store, const StudentDraw& draw, std::shared_ptr<SamplingSession> sampler, std::uint64_t seed = 5) {
    return waited<SampledSequence>([&](auto done) { store.sample(draw, std::move(sampler), request_with(seed), {}, std::move(done)); });
  };
  SampledSequence first;
  {
    const StudentSampleStore store(AnswerStore::open(file, Durability::process).value(), {{0, "run"}, {6, "run later"}}, Missing::asked);
    first = drawn(store, {.version = 3}, student).value();
    CHECK(drawn(store, {.version = 3}, student).value() == first);
    CHECK(*student->asked == 1);
    CHECK(drawn(store, {.version = 4}, student).value() != first);
    CHECK(drawn(StudentSampleStore(AnswerStore::open(file, Durability::process).value(), {{0, "another"}}, Missing::asked), {.version = 3}, student).value() != first);
    CHECK(*student->asked == 3);
    CHECK(drawn(store, {.version = 3, .step = 5}, student).value() == first);
    const auto later = drawn(store, {.version = 3, .step = 6}, student).value();  // of the run's part that begins there
    CHECK(later != first);
    CHECK(drawn(store, {.version = 3, .step = 7}, student).value() == later);
    CHECK(*student->asked == 4);
    for (int i = 0; i < 2; ++i) CHECK(drawn(store, {.row = 7}, student, 666).error().message == "no answer");  // a failure is not a draw
    CHECK(*student->asked == 6);
  }
  CHECK(answer_store_stats(file, true).value().by_kind == std::map<std::string, std::uint64_t>{{"student_sample", 4}});
  const StudentSampleStore recorded(AnswerStore::open_read_only(file).value(), {{0, "run"}, {6, "run later"}}, Missing::refused);
  CHECK(recorded.is_recorded_only());
  CHECK(drawn(recorded, {.version = 3}, student).value() == first);
  CHECK(drawn(recorded, {.version = 5}, student).error().code == ErrorCode::not_recorded);
  CHECK(*student->asked == 6);
}

TEST_CASE("recorded answers alone open no model, and what was not recorded is an error") {
  const TempDir dir;
  const auto inner = std::make_shared<CountingClient>();
  const auto client = make_replaying_sampling_client(inner, AnswerStore::open(dir.path() / "a.sqlite", Durability::process).value(), {"model", "letters"});
  auto session = open_session(*client);
  const auto missing = sampled(*session, request_with(1));
  REQUIRE(!missing);
  CHECK(missing.error().code == ErrorCode::not_recorded);
  CHECK(*inner->asked == 0);
  const auto store = AnswerStore::open_read_only(dir.path() / "a.sqlite").value();
  CHECK(!found_in(*store, key_of(1)));
}
