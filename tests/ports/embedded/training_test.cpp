// What training computes: losses, gradients' use, and the same bits every time.
#include <cmath>

#include "tests/ports/embedded/support.hpp"

using namespace pipestill;
using namespace pipestill::test;

namespace {

std::string trained_digest(const std::string& model, int threads, int steps = 5, int rows = 33) {
  const auto student = open_student(model, 3, threads);
  for (int i = 0; i < steps; ++i) {
    REQUIRE(forward_backward(*student, make_batch(rows, i)));
    REQUIRE(optim_step(*student, {.learning_rate = 3e-3, .weight_decay = 0.01, .grad_clip_norm = 0.5}));
  }
  return digest(*student);
}

}  // namespace

TEST_CASE("training lowers the loss until the batch is known by heart") {
  const TemporaryDirectory directory;
  for (const auto family : {ModelConfig::Family::llama, ModelConfig::Family::qwen3}) {
    auto config = small_config();
    config.family = family;
    config.tie_word_embeddings = family == ModelConfig::Family::llama;
    const auto student = open_student(config_in(directory, config));
    const auto batch = make_batch(6);
    double first = 0, last = 0;
    for (int i = 0; i < 150; ++i) {
      last = value_of(forward_backward(*student, batch)).metrics.at("loss");
      if (i == 0) first = last;
      REQUIRE(optim_step(*student, {.learning_rate = 5e-3, .grad_clip_norm = 1}));
    }
    CHECK(first > 3);
    CHECK(last < 0.7);
  }
}

TEST_CASE("equal calls give equal bits, whatever the number of threads") {
  const TemporaryDirectory directory;
  auto config = small_config();
  const auto model = config_in(directory, config);
  const auto once = trained_digest(model, 1);
  CHECK(once == trained_digest(model, 1));
  CHECK(once == trained_digest(model, 2));
  CHECK(once == trained_digest(model, 3));
  config.family = ModelConfig::Family::qwen3;
  config.hidden_size = 200;  // more blocks, and no multiple of one
  config.intermediate_size = 264;
  const auto other = config_in(directory, config);
  CHECK(trained_digest(other, 1, 2, 90) == trained_digest(other, 2, 2, 90));
}

TEST_CASE("the seed draws the weights") {
  const TemporaryDirectory directory;
  const auto model = config_in(directory);
  CHECK(digest(*open_student(model, 5)) == digest(*open_student(model, 5)));
  CHECK(digest(*open_student(model, 5)) != digest(*open_student(model, 6)));
}

TEST_CASE("the normalisations are those of the header") {
  const TemporaryDirectory directory;
  const auto student = open_student(config_in(directory));
  const auto a = make_datum({1, 2, 3, 4, 5}, {0, 1, 0.5f, 0}), b = make_datum({9, 8, 7}, {2, 1});
  // Each position's own loss, from datums with one target.
  const auto position = [&](const std::vector<Token>& tokens, std::size_t i) {
    std::vector<float> weights(tokens.size() - 1, 0.0f);
    weights[i] = 1;
    return value_of(forward(*student, {make_datum(tokens, weights)})).metrics.at("loss");
  };
  const double a1 = position({1, 2, 3, 4, 5}, 1), a2 = position({1, 2, 3, 4, 5}, 2), b0 = position({9, 8, 7}, 0),
               b1 = position({9, 8, 7}, 1);
  const auto loss = [&](Normalization n) {
    const auto out = value_of(forward(*student, {a, b}, {"cross_entropy", n}));
    CHECK(out.metrics.at("num_tokens") == 4);
    return out.metrics.at("loss");
  };
  CHECK(loss(Normalization::sum) == doctest::Approx(a1 + 0.5 * a2 + 2 * b0 + b1).epsilon(1e-9));
  CHECK(loss(Normalization::token_mean) == doctest::Approx((a1 + 0.5 * a2 + 2 * b0 + b1) / 4.5).epsilon(1e-9));
  CHECK(loss(Normalization::seq_mean) == doctest::Approx(((a1 + 0.5 * a2) / 1.5 + (2 * b0 + b1) / 3) / 2).epsilon(1e-9));
}

TEST_CASE("a row's loss does not depend on its companions") {
  const TemporaryDirectory directory;
  const auto student = open_student(config_in(directory));
  const auto batch = make_batch(50);
  double total = 0;
  for (const auto& datum : batch) total += value_of(forward(*student, {datum}, {"cross_entropy", Normalization::sum})).metrics.at("loss");
  CHECK(value_of(forward(*student, batch, {"cross_entropy", Normalization::sum})).metrics.at("loss") ==
        doctest::Approx(total).epsilon(1e-13));
}

TEST_CASE("gradients accumulate until the optimizer step") {
  const TemporaryDirectory directory;
  const auto model = config_in(directory);
  const auto whole = open_student(model), halves = open_student(model);
  const auto batch = make_batch(16);
  const Loss sum{"cross_entropy", Normalization::sum};
  REQUIRE(forward_backward(*whole, batch, sum));
  REQUIRE(forward_backward(*halves, {batch.begin(), batch.begin() + 9}, sum));
  REQUIRE(forward_backward(*halves, {batch.begin() + 9, batch.end()}, sum));
  const auto a = value_of(optim_step(*whole)).metrics.at("grad_norm"), b = value_of(optim_step(*halves)).metrics.at("grad_norm");
  CHECK(a == doctest::Approx(b).epsilon(1e-5));
  CHECK(a > 0);
}

TEST_CASE("the first step of AdamW moves every weight by the learning rate, clipped or not") {
  const TemporaryDirectory directory;
  const auto model = config_in(directory);
  const auto free = open_student(model), clipped = open_student(model);
  const auto batch = make_batch(16);
  const auto loss = [&](TrainingSession& s) { return value_of(forward(s, batch)).metrics.at("loss"); };
  for (auto* s : {free.get(), clipped.get()}) REQUIRE(forward_backward(*s, batch));
  REQUIRE(optim_step(*free, {.learning_rate = 1e-3, .eps = 1e-20}));
  REQUIRE(optim_step(*clipped, {.learning_rate = 1e-3, .eps = 1e-20, .grad_clip_norm = 1e-3}));
  CHECK(loss(*free) == doctest::Approx(loss(*clipped)).epsilon(1e-4));
  const auto still = open_student(model);
  const auto before = digest(*still);
  REQUIRE(forward_backward(*still, batch));
  REQUIRE(optim_step(*still, {.learning_rate = 0}));
  CHECK(digest(*still) == before);
}
