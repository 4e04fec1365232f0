// What a sampled answer may depend on: the request, and nothing else.
#include <algorithm>
#include <cmath>
#include <random>

#include "tests/ports/embedded/support.hpp"

using namespace pipestill;
using namespace pipestill::test;

namespace {

std::vector<SampleRequest> requests_of(const std::vector<int>& rows) {
  std::vector<SampleRequest> requests;
  for (const int r : rows) requests.push_back(request_of(r));
  return requests;
}

}  // namespace

TEST_CASE("an answer does not depend on its companions, their number or their order") {
  const TemporaryDirectory directory;
  for (const auto family : {ModelConfig::Family::llama, ModelConfig::Family::qwen3}) {
    auto config = small_config();
    config.family = family;
    make_model(directory.path(), config);
    const auto session = open_teacher(directory.path().string());

    std::vector<int> rows(200);
    for (int r = 0; r < 200; ++r) rows[static_cast<std::size_t>(r)] = r;
    const auto all = sample_all(*session, requests_of(rows));
    for (const auto& answer : all) REQUIRE(answer);
    for (const int count : {1, 7, 64}) {
      for (int first = 0; first < 200; first += std::max(count, 13)) {
        std::vector<int> some;
        for (int r = first; r < std::min(first + count, 200); ++r) some.push_back(r);
        const auto answers = sample_all(*session, requests_of(some));
        for (std::size_t i = 0; i < some.size(); ++i) CHECK(*answers[i] == *all[static_cast<std::size_t>(some[i])]);
      }
    }
    std::mt19937 shuffler(5);
    std::shuffle(rows.begin(), rows.end(), shuffler);
    const auto shuffled = sample_all(*session, requests_of(rows));
    for (std::size_t i = 0; i < rows.size(); ++i) CHECK(*shuffled[i] == *all[static_cast<std::size_t>(rows[i])]);

    const auto two_threads = open_teacher(directory.path().string(), 2);
    const auto again = sample_all(*two_threads, requests_of(rows));
    for (std::size_t i = 0; i < rows.size(); ++i) CHECK(*again[i] == *shuffled[i]);
    CHECK(session->close());
    CHECK(session->close());
  }
}

TEST_CASE("log-probabilities of samples are those of a full forward pass and of scoring") {
  const TemporaryDirectory directory;
  make_model(directory.path(), small_config());
  const auto session = open_teacher(directory.path().string());
  const auto student = open_student(directory.path().string());
  std::vector<int> rows;
  for (int r = 0; r < 24; ++r) rows.push_back(r);
  const auto answers = sample_all(*session, requests_of(rows));
  double worst = 0;
  for (const int r : rows) {
    const auto& answer = *answers[static_cast<std::size_t>(r)];
    auto tokens = prompt_of(r);
    const auto before = tokens.size();
    tokens.insert(tokens.end(), answer.tokens.begin(), answer.tokens.end());
    const auto score = value_of(await<Score>([&](auto done) { session->compute_logprobs({tokens, 3}, {}, done); }));
    REQUIRE(score.own.size() == tokens.size());
    REQUIRE(score.top.size() == tokens.size());
    CHECK_FALSE(score.own[0]);
    CHECK(score.top[0].empty());
    for (std::size_t i = 0; i < answer.tokens.size(); ++i) {
      CHECK(*score.own[before + i] == *answer.logprobs[i]);
      CHECK(score.top[before + i].size() == 3);
      CHECK(score.top[before + i][0].second >= *score.own[before + i]);
    }
    std::vector<float> weights(tokens.size() - 1, 0.0f);
    const std::size_t i = answer.tokens.size() - 1;
    weights[before - 1 + i] = 1;
    const auto loss = value_of(forward(*student, {make_datum(tokens, weights)})).metrics.at("loss");
    worst = std::max(worst, std::abs(loss + static_cast<double>(*answer.logprobs[i])));
  }
  MESSAGE("largest difference between sampler and trainer: " << worst);
  CHECK(worst < 2e-6);
}

TEST_CASE("the seed is the only source of randomness") {
  const TemporaryDirectory directory;
  make_model(directory.path(), small_config());
  const auto session = open_teacher(directory.path().string());
  const auto with_seed = [&](std::uint64_t seed) {
    auto request = request_of(4);
    request.params.seed = seed;
    request.params.max_tokens = 20;
    request.params.stop = {};
    return value_of(sample_one(*session, std::move(request)));
  };
  CHECK(with_seed(1) == with_seed(1));
  CHECK(with_seed(1).tokens != with_seed(2).tokens);
  CHECK(with_seed(std::uint64_t(1) << 63).tokens != with_seed(0).tokens);
}

TEST_CASE("samples follow the model's distribution") {
  const TemporaryDirectory directory;
  make_model(directory.path(), small_config());
  const auto session = open_teacher(directory.path().string());
  constexpr int kDraws = 4000;
  std::vector<SampleRequest> requests;
  for (int i = 0; i < kDraws; ++i) {
    SampleRequest request;
    request.prompt = ModelInput::from_ints({1, 2, 3});
    request.params.max_tokens = 1;
    request.params.seed = static_cast<std::uint64_t>(i);
    requests.push_back(std::move(request));
  }
  std::vector<int> counts(40);
  for (const auto& answer : sample_all(*session, std::move(requests))) ++counts[static_cast<std::size_t>(answer->tokens[0])];
  double chi_squared = 0;
  for (Token t = 0; t < 40; ++t) {
    const auto score = value_of(await<Score>([&](auto done) { session->compute_logprobs({{1, 2, 3, t}, 0}, {}, done); }));
    const double expected = kDraws * std::exp(static_cast<double>(*score.own[3]));
    chi_squared += std::pow(counts[static_cast<std::size_t>(t)] - expected, 2) / expected;
  }
  CHECK(chi_squared < 90);  // 39 degrees of freedom: exceeded once in 100 000
}

TEST_CASE("greedy, top_k and top_p restrict the choice") {
  const TemporaryDirectory directory;
  make_model(directory.path(), small_config());
  const auto session = open_teacher(directory.path().string());
  const auto score = value_of(await<Score>([&](auto done) { session->compute_logprobs({{3, 1, 4, 1}, 40}, {}, done); }));
  const auto& best = score.top[3];
  REQUIRE(best.size() == 40);
  const auto allowed = [&](SamplingParams params) {
    std::vector<SampleRequest> requests;
    for (std::uint64_t seed = 0; seed < 300; ++seed) {
      params.seed = seed;
      params.max_tokens = 1;
      requests.push_back({ModelInput::from_ints({3, 1, 4}), params});
    }
    std::vector<Token> seen;
    for (const auto& answer : sample_all(*session, std::move(requests))) seen.push_back(value_of(answer).tokens[0]);
    std::sort(seen.begin(), seen.end());
    seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
    return seen;
  };
  const auto top = [&](std::size_t n) {
    std::vector<Token> tokens;
    for (std::size_t i = 0; i < n; ++i) tokens.push_back(best[i].first);
    std::sort(tokens.begin(), tokens.end());
    return tokens;
  };
  CHECK(allowed({.temperature = 0}) == top(1));
  CHECK(allowed({.temperature = 1e-9}) == top(1));
  CHECK(allowed({.top_k = 1}) == top(1));
  CHECK(allowed({.top_k = 3}) == top(3));
  CHECK(allowed({.top_p = 1e-9}) == top(1));
  const double two = std::exp(static_cast<double>(best[0].second)) + std::exp(static_cast<double>(best[1].second));
  CHECK(allowed({.top_p = two - 1e-4}) == top(2));
  CHECK(allowed({.temperature = 1e6}).size() == 40);
}
