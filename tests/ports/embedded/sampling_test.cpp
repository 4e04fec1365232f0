// What a sampled answer may depend on: the request, and nothing else.
#include <algorithm>
#include <cmath>

#include "ports/embedded/safetensors.hpp"
#include "tests/ports/embedded/distribution.hpp"
#include "tests/ports/embedded/support.hpp"

using namespace pipestill;
using namespace pipestill::test;

TEST_CASE("log-probabilities of samples and of scores are those of the trainer's forward pass") {
  const TemporaryDirectory directory;
  make_model(directory.path(), odd_config());
  for (const auto& model : {shipped_teacher(), directory.path()}) {
    CAPTURE(model);
    const auto session = open_teacher(model.string());
    const auto student = open_student(model.string());
    /// What training sees: -log p(target | tokens up to `position`).
    const auto loss_at = [&](const std::vector<Token>& tokens, std::size_t position, Token target) {
      auto shortened = tokens;
      shortened.resize(position + 1);
      shortened.push_back(target);
      std::vector<float> weights(position + 1, 0.0f);
      weights.back() = 1;
      return value_of(forward(*student, {make_datum(shortened, weights)})).metrics.at("loss");
    };
    std::vector<SampleRequest> requests;
    for (int r = 0; r < 12; ++r) requests.push_back(request_of(r));
    const auto answers = sample_all(*session, requests);
    double worst = 0;
    for (int r = 0; r < 12; ++r) {
      const auto& answer = *answers[static_cast<std::size_t>(r)];
      auto tokens = prompt_of(r);
      const auto before = tokens.size();
      tokens.insert(tokens.end(), answer.tokens.begin(), answer.tokens.end());
      const auto score = value_of(await<Score>([&](auto done) { session->compute_logprobs({tokens, 3}, {}, done); }));
      REQUIRE(score.own.size() == tokens.size());
      REQUIRE(score.top.size() == tokens.size());
      CHECK_FALSE(score.own[0]);
      CHECK(score.top[0].empty());
      for (std::size_t i = 0; i < answer.tokens.size(); ++i) CHECK(*score.own[before + i] == *answer.logprobs[i]);
      for (std::size_t i = 1; i < tokens.size(); ++i) {
        worst = std::max(worst, std::abs(loss_at(tokens, i - 1, tokens[i]) + static_cast<double>(*score.own[i])));
        REQUIRE(score.top[i].size() == 3);
        const auto& [token, logprob] = score.top[i][i % 3];
        worst = std::max(worst, std::abs(loss_at(tokens, i - 1, token) + static_cast<double>(logprob)));
      }
    }
    MESSAGE("largest difference between sampler and trainer: " << worst);
    CHECK(worst < 2e-6);
  }
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

TEST_CASE("samples follow the model's distribution under every parameter") {
  // Pairs of tokens, so that draws that depend on one another would show.
  const TemporaryDirectory directory;
  auto config = small_config();
  config.vocab_size = 12;
  make_model(directory.path(), config);
  const auto session = open_teacher(directory.path().string());
  const std::vector<Token> prompt{1, 2, 3};
  const auto logprobs_after = [&](std::vector<Token> tokens) {
    tokens.push_back(0);
    const auto score = value_of(await<Score>([&](auto done) { session->compute_logprobs({tokens, 12}, {}, done); }));
    std::vector<double> logits(12);
    for (const auto& [token, logprob] : score.top.back()) logits[static_cast<std::size_t>(token)] = static_cast<double>(logprob);
    return logits;
  };
  struct Setting {
    SamplingParams params, slightly_wrong;
  };
  for (const auto& [params, slightly_wrong] :
       std::vector<Setting>{{{.temperature = 0.5}, {.temperature = 0.6}},
                            {{}, {.temperature = 0.8}},
                            {{.temperature = 1.7}, {.temperature = 1.2}},
                            {{.top_k = 4}, {.top_k = 5}},
                            {{.top_p = 0.6}, {.top_p = 0.9}},
                            {{.temperature = 1.7, .top_k = 8, .top_p = 0.7}, {.temperature = 1.7, .top_k = 8}}}) {
    CAPTURE(params.temperature);
    CAPTURE(params.top_k);
    CAPTURE(params.top_p);
    std::vector<SampleRequest> requests;
    for (std::uint64_t i = 0; i < 3000; ++i) {
      requests.push_back({ModelInput::from_ints(prompt), params});
      requests.back().params.max_tokens = 2;
      requests.back().params.seed = i;
    }
    std::vector<int> counts(144);
    for (const auto& answer : sample_all(*session, std::move(requests)))
      ++counts[static_cast<std::size_t>(answer->tokens.at(0) * 12 + answer->tokens.at(1))];
    const auto joint = [&](const SamplingParams& p) {
      const auto first = exact_distribution(logprobs_after(prompt), p);
      std::vector<double> pairs;
      for (Token t = 0; t < 12; ++t) {
        auto after = prompt;
        after.push_back(t);
        for (const double second : exact_distribution(logprobs_after(after), p))
          pairs.push_back(first[static_cast<std::size_t>(t)] * second);
      }
      return pairs;
    };
    CHECK(p_value(joint(params), counts) > 1e-4);
    CHECK(p_value(joint(slightly_wrong), counts) < 1e-9);
  }
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

TEST_CASE("scores name the best tokens of every position, the lower id first among equals, and no more than there are") {
  const TemporaryDirectory directory;
  make_model(directory.path(), small_config());
  // Rows of a tied embedding that are equal give equal logits.
  const auto file = directory.path() / "model.safetensors";
  const auto layout = make_layout(small_config());
  std::vector<float> flat(static_cast<std::size_t>(layout.total));
  REQUIRE(read_tensors(value_of(SafetensorsFile::open(file)), layout, flat));
  const auto row_of = [&](Token t) { return flat.begin() + layout.embedding + t * 32; };
  for (const auto& [from, to] : {std::pair{3, 30}, {3, 11}, {5, 6}, {20, 19}}) std::copy_n(row_of(from), 32, row_of(to));
  REQUIRE(write_safetensors(file, tensor_views(layout, flat), {}));
  const auto session = open_teacher(directory.path().string());

  const std::vector<Token> tokens{1, 3, 5, 11, 20, 0, 39, 19, 6, 30};
  const auto score_with = [&](int top_k) {
    return value_of(await<Score>([&](auto done) { session->compute_logprobs({tokens, top_k}, {}, done); }));
  };
  const auto all = score_with(64);
  CHECK(score_with(0).top.empty());
  for (std::size_t i = 1; i < tokens.size(); ++i) {
    const auto& top = all.top[i];
    REQUIRE(top.size() == 40);  // the vocabulary
    double total = 0;
    for (std::size_t k = 0; k < top.size(); ++k) {
      total += std::exp(static_cast<double>(top[k].second));
      if (k > 0) CHECK((top[k - 1].second > top[k].second || (top[k - 1].second == top[k].second && top[k - 1].first < top[k].first)));
      if (top[k].first == tokens[i]) CHECK(top[k].second == *all.own[i]);
    }
    CHECK(total == doctest::Approx(1).epsilon(1e-6));
    const auto place = [&](Token t) {
      return std::find_if(top.begin(), top.end(), [t](const auto& x) { return x.first == t; }) - top.begin();
    };
    CHECK(place(11) == place(3) + 1);
    CHECK(place(30) == place(3) + 2);
    CHECK(place(6) == place(5) + 1);
    CHECK(place(20) == place(19) + 1);
    for (const int k : {1, 2, 39, 40, 41}) {
      const auto some = score_with(k);
      CHECK(some.own == all.own);
      REQUIRE(some.top[i].size() == static_cast<std::size_t>(std::min(k, 40)));
      CHECK(std::equal(some.top[i].begin(), some.top[i].end(), top.begin()));
    }
    // Greedy decoding takes the first of them.
    SampleRequest greedy;
    greedy.prompt = ModelInput::from_ints({tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(i)});
    greedy.params = {.max_tokens = 1, .temperature = 0};
    CHECK(value_of(sample_one(*session, greedy)).tokens[0] == top[0].first);
  }
  const auto whole = value_of(await<Score>([&](auto done) { session->compute_logprobs({std::vector<Token>(64, 2), 1}, {}, done); }));
  CHECK(whole.own.size() == 64);  // as many as there are positions
  CHECK_FALSE(await<Score>([&](auto done) { session->compute_logprobs({std::vector<Token>(65, 2), 1}, {}, done); }));
  CHECK_FALSE(await<Score>([&](auto done) { session->compute_logprobs({tokens, -1}, {}, done); }));
}
