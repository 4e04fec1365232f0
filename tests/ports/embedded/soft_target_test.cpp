// cross_entropy with several weighted targets a position.
#include <cmath>
#include <limits>

#include "tests/ports/embedded/support.hpp"

using namespace pipestill;
using namespace pipestill::test;

namespace {

struct Fixture {
  TemporaryDirectory directory;
  std::unique_ptr<TrainingSession> student;
  Fixture() {
    write_text(directory.path() / "config.json", to_json(small_config()));
    student = open_student((directory.path() / "config.json").string());
  }
  double loss(std::vector<Datum> datums, Normalization n = Normalization::sum) {
    return value_of(forward(*student, std::move(datums), {"cross_entropy", n})).metrics.at("loss");
  }
  /// -log q(token) after the first `i + 1` of `input`.
  double surprise(std::vector<Token> input, std::size_t i, Token token) {
    input.resize(i + 1);
    input.push_back(token);
    std::vector<float> weights(i + 1, 0.0f);
    weights[i] = 1;
    return loss({make_datum(std::move(input), std::move(weights))});
  }
  /// The weights after one step.
  std::string trained(const std::vector<Datum>& datums, Loss loss = {}) {
    const auto fresh = open_student((directory.path() / "config.json").string());
    REQUIRE(forward_backward(*fresh, datums, std::move(loss)));
    REQUIRE(optim_step(*fresh));
    return digest(*fresh);
  }
};

const std::vector<Token> kInput{3, 14, 15, 9};

/// (4, 3): nothing, a distribution, a token twice beside padding, one entry alone.
Datum soft() {
  return make_soft_datum(kInput, {0, 0, 0, 5, 6, 7, 8, 8, 0, 0, 39, 0}, {0, 0, 0, 0.5f, 0.25f, 0.25f, 0.75f, 0.5f, 0, 0, 2, 0}, 3);
}

}  // namespace

TEST_CASE("the loss of a position is the weighted sum over its targets, by each normalisation") {
  Fixture f;
  const auto s = [&](std::size_t i, Token token) { return f.surprise(kInput, i, token); };
  const double row = 0.5 * s(1, 5) + 0.25 * s(1, 6) + 0.25 * s(1, 7) + (0.75 + 0.5) * s(2, 8) + 2 * s(3, 39);
  CHECK(f.loss({soft()}) == doctest::Approx(row).epsilon(1e-9));
  const auto hard = make_datum({9, 8, 7}, {2, 1});
  const double other = 2 * f.surprise({9, 8}, 0, 8) + f.surprise({9, 8}, 1, 7);
  CHECK(f.loss({soft(), hard}) == doctest::Approx(row + other).epsilon(1e-9));
  CHECK(f.loss({soft(), hard}, Normalization::token_mean) == doctest::Approx((row + other) / (4.25 + 3)).epsilon(1e-9));
  CHECK(f.loss({soft(), hard}, Normalization::seq_mean) == doctest::Approx((row / 4.25 + other / 3) / 2).epsilon(1e-9));
  const auto out = value_of(forward_backward(*f.student, {soft(), hard}));
  CHECK(out.metrics.at("num_tokens") == 3 + 2);
}

TEST_CASE("one target a position gives the bits of hard targets") {
  Fixture f;
  const auto hard = make_batch(9);
  auto soft = hard;
  for (auto& datum : soft) {
    for (auto& [name, tensor] : datum.loss_fn_inputs) tensor.shape.push_back(1);
  }
  CHECK(f.loss(soft) == f.loss(hard));
  CHECK(f.trained(soft) == f.trained(hard));
}

TEST_CASE("padding changes no bit, and a token that stands twice counts twice") {
  Fixture f;
  auto narrow = make_soft_datum(kInput, {1, 2, 3, 4, 5, 6, 7, 8}, {0.5f, 0.5f, 1, 0, 0.25f, 0.75f, 0, 1}, 2);
  auto wide = make_soft_datum(kInput, {1, 0, 2, 39, 3, 0, 0, 0, 5, 0, 6, 0, 0, 8, 0, 0},
                              {0.5f, 0, 0.5f, 0, 1, 0, 0, 0, 0.25f, 0, 0.75f, 0, 0, 1, 0, 0}, 4);
  CHECK(f.loss({narrow}) == f.loss({wide}));
  CHECK(f.trained({narrow}) == f.trained({wide}));
  const auto twice = make_soft_datum({5}, {7, 7, 7}, {0.5f, 0.25f, 0.25f}, 3), once = make_soft_datum({5}, {7}, {1}, 1);
  CHECK(f.loss({twice}) == f.loss({once}));
  CHECK(f.loss({once}) > 0);
}

TEST_CASE("training on a distribution ends at it, with its entropy as loss") {
  Fixture f;
  const std::vector<float> teacher{0.5f, 0.25f, 0.125f, 0.125f};
  std::vector<std::int64_t> targets;
  std::vector<float> weights;
  for (std::size_t i = 0; i < kInput.size(); ++i) {
    for (std::size_t k = 0; k < teacher.size(); ++k) {
      targets.push_back(static_cast<std::int64_t>((i * 7 + k * 3) % 40));
      weights.push_back(teacher[k]);
    }
  }
  const auto datum = make_soft_datum(kInput, targets, weights, 4);
  for (int i = 0; i < 120; ++i) {
    REQUIRE(forward_backward(*f.student, {datum}));
    REQUIRE(optim_step(*f.student, {.learning_rate = 5e-3, .grad_clip_norm = 1}));
  }
  const double entropy = 1.75 * std::log(2.0);
  CHECK(f.loss({datum}, Normalization::token_mean) >= entropy);
  CHECK(f.loss({datum}, Normalization::token_mean) < entropy + 0.02);
  CHECK(f.surprise(kInput, 2, 17) == doctest::Approx(std::log(4.0)).epsilon(0.05));
}

TEST_CASE("soft targets that do not fit are refused by the datum's index, and change nothing") {
  Fixture f;
  const auto before = digest(*f.student);
  const auto refusal = [&](const Datum& bad) {
    const auto out = forward_backward(*f.student, {soft(), bad});
    REQUIRE_FALSE(out);
    CHECK(out.error().code == ErrorCode::invalid_input);
    CHECK_FALSE(optim_step(*f.student));
    CHECK(digest(*f.student) == before);
    CHECK(out.error().message.find("datum 1 has ") == 0);
    return out.error().message;
  };
  const auto with_shapes = [](std::vector<std::int64_t> targets, std::vector<std::int64_t> weights) {
    auto datum = soft();
    datum.loss_fn_inputs["target_tokens"].shape = std::move(targets);
    datum.loss_fn_inputs["weights"].shape = std::move(weights);
    return datum;
  };
  CHECK(refusal(with_shapes({4, 3}, {12})).find("weights of shape (12)") != std::string::npos);
  for (const auto& shape :
       std::vector<std::vector<std::int64_t>>{{12}, {3, 4}, {4, 2}, {4, 4}, {4, 0}, {4, 3, 1}, {2, 2, 3}, {4}, {}, {-4, -3}}) {
    CHECK(refusal(with_shapes(shape, shape)).find("(N, K)") != std::string::npos);
  }
  auto unlike = soft();  // each a good shape, but not the same
  unlike.loss_fn_inputs["weights"] = {std::vector<float>{1, 1, 1, 1}, {4}};
  CHECK(refusal(unlike).find("target_tokens of shape (4, 3) with 12 elements and weights of shape (4) with 4;") != std::string::npos);
  CHECK(refusal(make_soft_datum(kInput, {}, {}, 0)).find("(4, 0)") != std::string::npos);
  auto datum = soft();
  std::get<std::vector<std::int64_t>>(datum.loss_fn_inputs["target_tokens"].data)[4] = 40;
  CHECK(refusal(datum).find("token 40 at position 1, entry 1; the model's vocabulary has 40") != std::string::npos);
  datum = soft();
  std::get<std::vector<std::int64_t>>(datum.loss_fn_inputs["target_tokens"].data)[0] = -1;
  CHECK(refusal(datum).find("token -1 at position 0, entry 0") != std::string::npos);  // without weight, and wrong all the same
  datum = soft();
  std::get<std::vector<float>>(datum.loss_fn_inputs["weights"].data)[11] = std::numeric_limits<float>::infinity();
  CHECK(refusal(datum).find("a weight that is not finite at position 3, entry 2") != std::string::npos);
  CHECK_FALSE(forward(*f.student, {make_soft_datum({1, 2}, {3, 4, 5, 6}, {0, 0, 0, 0}, 2)}));
  CHECK_FALSE(forward(*f.student, {make_soft_datum({1, 2}, {3, 4, 5, 6}, {1, 0, -1, 0}, 2)}));
}
