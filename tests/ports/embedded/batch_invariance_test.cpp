// The law on which overlap rests: a row's answer is a function of the model and the request, to the last bit. Not of the rows that share
// its batch, of their number or order, of when it was submitted, of threads, or of what else computes in the process.
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <functional>
#include <mutex>
#include <numeric>
#include <random>
#include <span>
#include <thread>

#include "tests/ports/embedded/support.hpp"

using namespace pipestill;
using namespace pipestill::test;

namespace {

constexpr int kRows = 256;

/// A model, and each row's answers when nothing else is asked.
class Subject {
 public:
  Subject(std::string directory, int vocab_size, int longest_prompt)
      : directory_(std::move(directory)), vocab_size_(vocab_size), longest_prompt_(longest_prompt) {
    const auto session = open_teacher(directory_);
    for (int r = 0; r < kRows; ++r) {
      samples_.push_back(value_of(sample_one(*session, request(r))));
      scores_.push_back(value_of(await<Score>([&](auto done) { session->compute_logprobs(score_request(r), {}, done); })));
    }
    REQUIRE(session->close());
  }

  [[nodiscard]] SampleRequest request(int r) const {
    SampleRequest in;
    in.prompt = ModelInput::from_ints(tokens(r, 1 + r * 7 % (r % 32 == 0 ? longest_prompt_ : 23)));
    in.params.max_tokens = 1 + r * 5 % 19;
    in.params.temperature = std::array{1.0, 0.0, 0.7, 1.6}[static_cast<std::size_t>(r) % 4];
    in.params.top_k = r % 5 == 2 ? 7 : -1;
    in.params.top_p = r % 7 == 3 ? 0.8 : 1;
    in.params.seed = static_cast<std::uint64_t>(r) * 977 + 5;
    if (r % 3) in.params.stop = std::vector<Token>{4, 7};
    return in;
  }
  [[nodiscard]] ScoreRequest score_request(int r) const {
    return {tokens(r + 1000, 1 + r * 11 % (r % 32 == 1 ? longest_prompt_ : 19)), r % 4 * 3};
  }

  /// Whether the answer of row `r` has every bit of the one that it gets alone.
  [[nodiscard]] bool is_same(int r, const Result<SampledSequence>& answer) const {
    const auto& alone = samples_[static_cast<std::size_t>(r)];
    return answer && answer->tokens == alone.tokens && answer->stop_reason == alone.stop_reason &&
           bits(answer->logprobs) == bits(alone.logprobs);
  }
  [[nodiscard]] bool is_same(int r, const Result<Score>& answer) const {
    const auto& alone = scores_[static_cast<std::size_t>(r)];
    if (!answer || bits(answer->own) != bits(alone.own) || answer->top.size() != alone.top.size()) return false;
    return std::equal(answer->top.begin(), answer->top.end(), alone.top.begin(), alone.top.end(), [](const auto& a, const auto& b) {
      return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
        return x.first == y.first && std::bit_cast<std::uint32_t>(x.second) == std::bit_cast<std::uint32_t>(y.second);
      });
    });
  }
  /// Rows whose answers differ from those alone.
  [[nodiscard]] int differences(SamplingSession& session, std::span<const int> rows) const {
    std::vector<SampleRequest> requests;
    for (const int r : rows) requests.push_back(request(r));
    const auto answers = sample_all(session, std::move(requests));
    int count = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) count += !is_same(rows[i], answers[i]);
    return count;
  }
  [[nodiscard]] const std::string& directory() const { return directory_; }

 private:
  [[nodiscard]] std::vector<Token> tokens(int row, int count) const {
    std::mt19937 engine(static_cast<unsigned>(row));
    std::vector<Token> drawn;
    for (int t = 0; t < count; ++t) drawn.push_back(static_cast<Token>(engine() % static_cast<unsigned>(vocab_size_)));
    return drawn;
  }
  static std::vector<std::uint32_t> bits(const std::vector<Logprob>& logprobs) {
    std::vector<std::uint32_t> words;
    for (const auto& x : logprobs)
      words.push_back(x ? std::bit_cast<std::uint32_t>(*x) : 0xffffffffu);  // that one is a NaN, which none may be
    return words;
  }

  std::string directory_;
  int vocab_size_, longest_prompt_;
  std::vector<SampledSequence> samples_;
  std::vector<Score> scores_;
};

/// The shipped teacher, and a Qwen3 of random weights whose sizes fill no vector and no block. Their answers alone are computed once.
const std::vector<Subject>& subjects() {
  static const TemporaryDirectory directory;
  static const auto made = [] {
    make_model(directory.path(), odd_config());
    std::vector<Subject> subjects;
    subjects.emplace_back(shipped_teacher().string(), 64, 100);
    subjects.emplace_back(directory.path().string(), 151, 260);
    return subjects;
  }();
  return made;
}

std::vector<int> all_rows() {
  std::vector<int> rows(kRows);
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

/// Keeps `width` requests of `rows` outstanding: the handler of each submits the next, so rows enter steps of every age.
template <class Submit>
int differences_staggered(const Subject& subject, const std::vector<int>& rows, std::size_t width, const Submit& submit) {
  struct State {
    std::mutex mutex;
    std::size_t next = 0, answered = 0;
    int differences = 0;
    std::promise<void> finished;
  };
  const auto state = std::make_shared<State>();
  auto future = state->finished.get_future();
  const auto submit_next = std::make_shared<std::function<void()>>();
  *submit_next = [&subject, &rows, &submit, state, weak = std::weak_ptr(submit_next)] {
    int row = 0;
    {
      const std::lock_guard lock(state->mutex);
      if (state->next == rows.size()) return;
      row = rows[state->next++];
    }
    submit(row, [&subject, &rows, state, row, again = weak.lock()](const auto& answer) {
      const bool is_same = subject.is_same(row, answer);
      (*again)();
      const std::lock_guard lock(state->mutex);
      state->differences += !is_same;
      if (++state->answered == rows.size()) state->finished.set_value();
    });
  };
  for (std::size_t i = 0; i < width; ++i) (*submit_next)();
  REQUIRE(future.wait_for(std::chrono::seconds(60)) == std::future_status::ready);
  return state->differences;
}

}  // namespace

TEST_CASE("an answer does not depend on its companions, their number, their order, or the number of threads") {
  for (const auto& subject : subjects()) {
    for (const int threads : {1, 2, 4}) {
      CAPTURE(subject.directory());
      CAPTURE(threads);
      const auto session = open_teacher(subject.directory(), threads);
      std::mt19937 shuffler(static_cast<unsigned>(threads));
      auto rows = all_rows();
      for (const std::size_t size : {1, 2, 7, 16, 63, 64, 65, 100, 255, 256}) {
        if (threads > 1 && size % 64 > 1) continue;  // a busy machine is slow to bring a team together
        CAPTURE(size);
        std::shuffle(rows.begin(), rows.end(), shuffler);
        CHECK(subject.differences(*session, std::span(rows).first(size)) == 0);
        CHECK(subject.differences(*session, std::span(rows).last(size)) == 0);
      }
      CHECK(session->close());
    }
  }
}

TEST_CASE("an answer does not depend on when it was asked for") {
  for (const auto& subject : subjects()) {
    for (const std::size_t width : {2, 5, 33, 64, 150}) {
      CAPTURE(subject.directory());
      CAPTURE(width);
      const auto session = open_teacher(subject.directory());
      auto rows = all_rows();
      std::shuffle(rows.begin(), rows.end(), std::mt19937(static_cast<unsigned>(width)));
      CHECK(differences_staggered(subject, rows, width, [&](int row, auto handler) {
              session->sample(subject.request(row), {}, Completion<SampledSequence>(handler));
            }) == 0);
      CHECK(session->close());
    }
  }
}

TEST_CASE("scores do not depend on their companions, nor on samples beside them") {
  for (const auto& subject : subjects()) {
    for (const int threads : {1, 2, 4}) {
      CAPTURE(subject.directory());
      CAPTURE(threads);
      const auto session = open_teacher(subject.directory(), threads);
      std::mt19937 shuffler(9);
      auto rows = all_rows(), others = all_rows();
      for (const std::size_t width : {1, 7, 100, 256}) {
        if (threads > 1 && width < 100) continue;
        CAPTURE(width);
        std::shuffle(rows.begin(), rows.end(), shuffler);
        std::shuffle(others.begin(), others.end(), shuffler);
        const std::size_t beside = width == 256 ? 0 : 40;
        int sampled = 0;
        std::jthread sampler([&] { sampled = subject.differences(*session, std::span(others).first(beside)); });
        CHECK(differences_staggered(subject, rows, width, [&](int row, auto handler) {
                session->compute_logprobs(subject.score_request(row), {}, Completion<Score>(handler));
              }) == 0);
        sampler.join();
        CHECK(sampled == 0);
      }
      CHECK(session->close());
    }
  }
}

TEST_CASE("answers do not depend on another session that samples, and one that trains, at the same time") {
  for (const auto& subject : subjects()) {
    CAPTURE(subject.directory());
    const auto session = open_teacher(subject.directory(), 2), neighbour = open_teacher(subject.directory());
    const auto student = open_student(subject.directory(), 1, 2);
    std::atomic<bool> is_over{false};
    std::atomic<int> neighbours_rounds{0}, training_steps{0}, neighbours_differences{0};
    std::jthread sampling([&] {
      auto rows = all_rows();
      for (std::mt19937 shuffler(1); !is_over || neighbours_rounds == 0; ++neighbours_rounds) {
        std::shuffle(rows.begin(), rows.end(), shuffler);
        neighbours_differences += subject.differences(*neighbour, std::span(rows).first(90));
      }
    });
    std::jthread training([&] {
      for (; !is_over || training_steps == 0; ++training_steps) {
        (void)value_of(forward_backward(*student, make_batch(24, training_steps)));
        (void)value_of(optim_step(*student));
      }
    });
    auto rows = all_rows();
    for (unsigned round = 0; round < 4 || neighbours_rounds == 0 || training_steps == 0; ++round) {
      std::shuffle(rows.begin(), rows.end(), std::mt19937(round));
      CHECK(subject.differences(*session, rows) == 0);
    }
    is_over = true;
    sampling.join();
    training.join();
    CHECK(neighbours_differences == 0);
  }
}
