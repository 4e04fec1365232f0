#include "nodes/capability_check.hpp"

#include <doctest/doctest.h>

#include "tests/nodes/fakes.hpp"

using namespace pipestill;
using namespace pipestill::test;

namespace {

const TrainingCapabilities kAble{.losses = {"cross_entropy", "importance_sampling"},
                                 .normalizations = {Normalization::token_mean, Normalization::seq_mean, Normalization::sum},
                                 .has_soft_targets = true,
                                 .has_micro_batches = true,
                                 .is_deterministic = true,
                                 .can_sample_snapshots_in_training = true};

std::string refusal(const Recipe& recipe, TrainingCapabilities able) {
  REQUIRE(check_student(recipe, kAble));
  const auto checked = check_student(recipe, able);
  REQUIRE_FALSE(checked);
  CHECK(checked.error().code == ErrorCode::invalid_input);
  return checked.error().message;
}

TrainingCapabilities without(auto change) {
  auto able = kAble;
  change(able);
  return able;
}

}  // namespace

TEST_CASE("a student that cannot do what the recipe asks is refused by the recipe's key") {
  const auto recipe = recipe_of("off_policy", {"training.micro_batch_rows=4"});
  CHECK(refusal(recipe, without([](auto& a) { a.has_micro_batches = false; })) ==
        "training.micro_batch_rows: student.client \"simulated\" computes a batch as a whole and cannot take it 4 rows at a time; 0 is "
        "accepted");
  CHECK(check_student(recipe_of("off_policy", {}), without([](auto& a) { a.has_micro_batches = false; })));
  CHECK(refusal(recipe, without([](auto& a) {
                  a.losses = {"dro", "ppo"};
                })) == "training.loss: student.client \"simulated\" has no loss \"cross_entropy\"; it has dro, ppo");
  CHECK(refusal(recipe, without([](auto& a) { a.normalizations = {Normalization::sum}; })) ==
        "training.normalization: student.client \"simulated\" has no \"token_mean\"; it has sum");
  const auto on_policy = recipe_of("on_policy", {});
  CHECK(refusal(on_policy, without([](auto& a) { a.can_sample_snapshots_in_training = false; })).find("method: on_policy") == 0);
}
