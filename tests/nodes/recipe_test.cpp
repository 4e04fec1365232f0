#include "nodes/recipe.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "nodes/describe.hpp"
#include "nodes/recipe_schema.hpp"
#include "ports/sampling/sampling_factory.hpp"
#include "ports/training/training_factory.hpp"

namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using namespace pipestill;

const std::string kOffPolicy = R"({"method": "off_policy", "dataset": {"path": "train.jsonl"}, "teacher": {"client": "simulated"},
                                   "student": {"client": "simulated"}})";
const std::string kOnPolicy = R"({"method": "on_policy", "dataset": {"path": "train.jsonl"}, "teacher": {"client": "simulated"},
                                  "student": {"client": "simulated"}})";
const std::string kSupervised = R"({"method": "supervised", "dataset": {"path": "train.jsonl"}, "student": {"client": "simulated"}})";

Result<Recipe> parse(const std::string& text, const std::vector<std::string>& sets = {}) {
  std::vector<Override> overrides;
  for (const auto& set : sets) {
    auto parsed = parse_override(set);
    REQUIRE(parsed);
    overrides.push_back(*parsed);
  }
  return parse_recipe(text, "r.json", "/data/recipes", overrides);
}

Recipe good(const std::string& text, const std::vector<std::string>& sets = {}) {
  auto recipe = parse(text, sets);
  INFO((recipe ? "" : recipe.error().message));
  REQUIRE(recipe);
  return *recipe;
}

/// The error's text; "accepted" if there is none.
std::string error_of(const std::string& text, const std::vector<std::string>& sets = {}) {
  const auto recipe = parse(text, sets);
  if (recipe) return "accepted";
  CHECK(recipe.error().code == ErrorCode::invalid_input);
  CHECK(recipe.error().message.find('\n') == std::string::npos);
  return recipe.error().message;
}

bool begins(const std::string& text, const std::string& beginning) { return text.compare(0, beginning.size(), beginning) == 0; }
bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a short recipe gets every default") {
  const auto recipe = good(kOffPolicy);
  CHECK(recipe.method == Method::off_policy);
  CHECK(recipe.seed == BigSeed(0));
  CHECK(recipe.dataset.path == "train.jsonl");
  CHECK(recipe.dataset.shuffle);
  CHECK_FALSE(recipe.dataset.max_prompt_tokens);
  CHECK(recipe.dataset.on_bad_row == BadRowPolicy::fail);
  REQUIRE(recipe.teacher);
  CHECK(recipe.teacher->client == "simulated");
  CHECK(recipe.teacher->teacher_checkpoint_path.empty());
  CHECK(recipe.teacher->max_tokens == 256);
  CHECK(recipe.teacher->temperature == 1.0);
  CHECK(recipe.teacher->top_k == -1);
  CHECK(recipe.teacher->top_p == 1.0);
  CHECK(recipe.teacher->in_flight == 256);
  CHECK(recipe.teacher->on_error == RowPolicy::fail);
  CHECK(recipe.teacher->on_empty == RowPolicy::fail);
  CHECK(recipe.teacher->on_truncated == RowPolicy::keep);
  CHECK(recipe.student.client == "simulated");
  CHECK(recipe.student.tokenizer == "bytes");
  CHECK(recipe.student.rendering.renderer == "role_colon");
  CHECK(recipe.training.batch_size == 64);
  CHECK(recipe.training.max_length == 2048);
  CHECK(recipe.training.epochs == 1);
  CHECK_FALSE(recipe.training.max_steps);
  CHECK(recipe.training.adam.learning_rate == 1e-4);
  CHECK(recipe.training.adam.beta1 == 0.9);
  CHECK(recipe.training.adam.beta2 == 0.95);
  CHECK(recipe.training.adam.eps == 1e-8);
  CHECK(recipe.training.adam.weight_decay == 0);
  CHECK(recipe.training.adam.grad_clip_norm == 0);
  CHECK(recipe.training.lr_schedule == LearningRateSchedule::constant);
  CHECK(recipe.training.warmup_steps == 0);
  CHECK(recipe.training.lr_min_ratio == 0);
  CHECK(recipe.training.loss.name == "cross_entropy");
  CHECK(recipe.training.loss.normalization == Normalization::token_mean);
  CHECK(recipe.training.loss.micro_batch_rows == 0);
  CHECK(recipe.engine.depth == 4);
  CHECK(recipe.engine.threads == 0);
  CHECK(recipe.engine.staleness == 0);
  CHECK(recipe.engine.stop_grace == std::chrono::seconds(5));
  CHECK_FALSE(recipe.evaluation);
  CHECK_FALSE(recipe.resolved.contains("evaluation"));
  CHECK_FALSE(recipe.telemetry.trace);
  CHECK(recipe.telemetry.log_every == 100);
}

TEST_CASE("every given value arrives") {
  const auto recipe = good(R"({"method": "off_policy", "seed": 7,
    "dataset": {"path": "a.jsonl", "shuffle": false, "max_prompt_tokens": 12, "on_bad_row": "skip"},
    "teacher": {"client": "simulated", "teacher_model": "t", "teacher_checkpoint_path": "w", "max_tokens": 28, "temperature": 0.5, "top_k": 3,
                "top_p": 0.25, "in_flight": 9, "on_error": "drop", "on_empty": "drop", "on_truncated": "fail"},
    "student": {"client": "simulated", "model": "s", "tokenizer": "v/", "renderer": "role_tokens"},
    "training": {"batch_size": 3, "max_length": 64, "epochs": 2, "max_steps": 100, "learning_rate": 4e-3, "lr_schedule": "cosine",
                 "warmup_steps": 50, "lr_min_ratio": 0.03, "weight_decay": 0.01, "adam_beta1": 0.8, "adam_beta2": 0.98, "adam_eps": 1e-6,
                 "grad_clip_norm": 1, "loss": "cross_entropy", "normalization": "seq_mean",
                 "micro_batch_rows": 2},
    "engine": {"depth": 2, "threads": 3, "staleness": 0, "stop_grace": 0.25},
    "evaluation": {"path": "e.jsonl", "every": 10, "metrics": ["exact_match"], "max_tokens": 5, "limit": 6},
    "telemetry": {"trace": true, "log_every": 11}})");
  CHECK(recipe.seed == BigSeed(7));
  CHECK(recipe.dataset.path == "a.jsonl");
  CHECK_FALSE(recipe.dataset.shuffle);
  CHECK(recipe.dataset.max_prompt_tokens == 12);
  CHECK(recipe.dataset.on_bad_row == BadRowPolicy::skip);
  CHECK(recipe.teacher->teacher_model == "t");
  CHECK(recipe.teacher->teacher_checkpoint_path == "w");
  CHECK(recipe.teacher->max_tokens == 28);
  CHECK(recipe.teacher->temperature == 0.5);
  CHECK(recipe.teacher->top_k == 3);
  CHECK(recipe.teacher->top_p == 0.25);
  CHECK(recipe.teacher->in_flight == 9);
  CHECK(recipe.teacher->on_error == RowPolicy::drop);
  CHECK(recipe.teacher->on_empty == RowPolicy::drop);
  CHECK(recipe.teacher->on_truncated == RowPolicy::fail);
  CHECK(recipe.student.model == "s");
  CHECK(recipe.student.tokenizer == "v/");
  CHECK(recipe.student.rendering.renderer == "role_tokens");
  CHECK(recipe.training.batch_size == 3);
  CHECK(recipe.training.max_length == 64);
  CHECK(recipe.training.epochs == 2);
  CHECK(recipe.training.max_steps == 100);
  CHECK(recipe.training.adam.learning_rate == 4e-3);
  CHECK(recipe.training.adam.beta1 == 0.8);
  CHECK(recipe.training.adam.beta2 == 0.98);
  CHECK(recipe.training.adam.eps == 1e-6);
  CHECK(recipe.training.adam.weight_decay == 0.01);
  CHECK(recipe.training.adam.grad_clip_norm == 1);
  CHECK(recipe.training.lr_schedule == LearningRateSchedule::cosine);
  CHECK(recipe.training.warmup_steps == 50);
  CHECK(recipe.training.lr_min_ratio == 0.03);
  CHECK(recipe.training.loss.normalization == Normalization::seq_mean);
  CHECK(recipe.training.loss.micro_batch_rows == 2);
  CHECK(recipe.engine.depth == 2);
  CHECK(recipe.engine.threads == 3);
  CHECK(recipe.engine.stop_grace == std::chrono::milliseconds(250));
  REQUIRE(recipe.evaluation);
  CHECK(recipe.evaluation->path == "e.jsonl");
  CHECK(recipe.evaluation->every == 10);
  CHECK(recipe.evaluation->metrics == std::vector<std::string>{"exact_match"});
  CHECK(recipe.evaluation->max_tokens == 5);
  CHECK(recipe.evaluation->limit == 6);
  CHECK(recipe.telemetry.trace);
  CHECK(recipe.telemetry.log_every == 11);
}

TEST_CASE("the resolved recipe holds every key, reads back to itself and does not depend on the order of the file") {
  for (const auto& text : {kOffPolicy, kOnPolicy, kSupervised}) {
    const auto recipe = good(text, {"evaluation.path=e.jsonl", "seed=340282366920938463463374607431768211456"});
    for (const auto& key : recipe_keys(recipe.method, "simulated", "simulated")) {
      CAPTURE(key.name);
      const bool has_value = key.is_required || !key.default_value.empty();
      CHECK((find_value(recipe.resolved, key.name) != nullptr) == has_value);
    }
    const auto again = good(json::serialize(recipe.resolved));
    CHECK(json::serialize(again.resolved) == json::serialize(recipe.resolved));
    CHECK(again.identity() == recipe.identity());
  }
  const auto one = good(R"({"method": "supervised", "dataset": {"path": "p", "shuffle": true}, "student": {"client": "simulated"}})");
  const auto two = good(R"({"student": {"client": "simulated"}, "dataset": {"shuffle": true, "path": "p"}, "method": "supervised"})");
  CHECK(json::serialize(one.resolved) == json::serialize(two.resolved));
  CHECK(one.resolved.begin()->key() == "method");
}

TEST_CASE("an unknown key is refused with its path and the nearest known one") {
  CHECK(error_of(kOffPolicy, {"training.batchsize=3"}) == "r.json: unknown key training.batchsize; did you mean training.batch_size?");
  CHECK(error_of(kOffPolicy, {"trainig.batch_size=3"}) == "r.json: unknown section trainig; did you mean training?");
  CHECK(error_of(kOffPolicy, {"sede=3"}) == "r.json: unknown key sede; did you mean seed?");
  CHECK(error_of(kOffPolicy, {"batch_size=3"}) == "r.json: unknown key batch_size; did you mean training.batch_size?");
  CHECK(error_of(kOffPolicy, {"teacher.learning_rate=3"}) ==
        "r.json: unknown key teacher.learning_rate; did you mean training.learning_rate?");
  CHECK(error_of(kOffPolicy, {"evalution={}"}) == "r.json: unknown section evalution; did you mean evaluation?");
  CHECK(error_of(R"({"methd": "off_policy"})") == "r.json: unknown key methd; did you mean method?");
}

TEST_CASE("there is no hint where nothing is near") {
  CHECK(error_of(kOffPolicy, {"training.distill_alpha=1"}) == "r.json: unknown key training.distill_alpha");
  CHECK(error_of(kOffPolicy, {"zzz={}"}) == "r.json: unknown section zzz");
  CHECK(error_of(kOffPolicy, {"training.x=1"}) == "r.json: unknown key training.x");
}

TEST_CASE("a dotted name in the file is not taken for a path") {
  const auto with = [](const std::string& member) {
    return R"({"method": "supervised", "dataset": {"path": "p"}, "student": {"client": "simulated"}, )" + member + "}";
  };
  for (const auto* member :
       {R"("training.batch_size": 3)", R"("training": {"batch_size": 3}, "training.batch_size": 4)", R"("training": {"a.b": {}})"}) {
    CAPTURE(member);
    CHECK(contains(error_of(with(member)), "has a dot in its name; only --set takes paths"));
  }
}

TEST_CASE("a dotted name is unknown even where its path is known") {
  const KeyInfo key{.name = "a.b", .type = KeyInfo::Type::integer};
  CHECK(find_unknown_key({{"a.b", 1}}, std::span(&key, 1)) == "a.b");
  CHECK_FALSE(find_unknown_key({{"a", {{"b", 1}}}}, std::span(&key, 1)));
}

TEST_CASE("an empty or endless name is unknown like any other") {
  CHECK(begins(error_of(R"({"": 1})"), "r.json: unknown key "));
  CHECK(begins(error_of(R"({"training": {"": 1}})"), "r.json: unknown key training."));
  const auto endless = error_of("{\"" + std::string(3000000, 'x') + "\": 1}");
  CHECK(begins(endless, "r.json: unknown key xxx"));
  CHECK(endless.size() < 100);
}

TEST_CASE("an unknown key in the file and one from --set are the same error") {
  const std::string in_file = R"({"method": "supervised", "dataset": {"path": "p", "shufle": 1}, "student": {"client": "simulated"}})";
  CHECK(error_of(in_file) == "r.json: unknown key dataset.shufle; did you mean dataset.shuffle?");
  CHECK(error_of(in_file) == error_of(kSupervised, {"dataset.shufle=1"}));
}

TEST_CASE("a wrong type or a value out of range is refused with what is accepted") {
  const std::array<std::array<std::string, 2>, 27> cases = {{
      {"training.batch_size=\"64\"", "training.batch_size must be an integer from 1 to 65536, not \"64\""},
      {"training.batch_size=0", "training.batch_size must be an integer from 1 to 65536, not 0"},
      {"training.batch_size=65537", "training.batch_size must be an integer from 1 to 65536, not 65537"},
      {"training.batch_size=3.5", "training.batch_size must be an integer from 1 to 65536, not 3.5"},
      {"training.batch_size=null", "training.batch_size must be an integer from 1 to 65536, not null"},
      {"training.batch_size=[1]", "training.batch_size must be an integer from 1 to 65536, not [1]"},
      {"training.max_steps=0", "training.max_steps must be an integer of at least 1, or null, not 0"},
      {"training.max_steps=18446744073709551616",
       "training.max_steps must be an integer of at least 1, or null, not \"18446744073709551616\""},
      {"training.max_length=1", "training.max_length must be an integer from 2 to 1000000, not 1"},
      {"training.learning_rate=0", "training.learning_rate must be a number above 0, not 0"},
      {"training.learning_rate=-0.001", "training.learning_rate must be a number above 0, not -0.001"},
      {"training.learning_rate=fast", "training.learning_rate must be a number, not \"fast\""},
      {"training.adam_eps=0", "training.adam_eps must be a number above 0, not 0"},
      {"training.adam_beta1=1", "training.adam_beta1 must be a number of at least 0 and below 1, not 1"},
      {"training.adam_beta2=-0.5", "training.adam_beta2 must be a number of at least 0, not -0.5"},
      {"training.lr_min_ratio=1.5", "training.lr_min_ratio must be a number from 0 to 1, not 1.5"},
      {"training.lr_schedule=cos", R"(training.lr_schedule must be one of "constant", "linear", "cosine", not "cos")"},
      {"teacher.temperature=101", "teacher.temperature must be a number from 0 to 100, not 101"},
      {"teacher.top_p=0", "teacher.top_p must be a number above 0 and at most 1, not 0"},
      {"teacher.top_p=1.01", "teacher.top_p must be a number of at most 1, not 1.01"},
      {"teacher.top_k=0", "teacher.top_k must be an integer of at least 1, or -1 for all tokens, not 0"},
      {"teacher.top_k=-2", "teacher.top_k must be an integer from -1 to 1000000, not -2"},
      {"teacher.on_error=keep", R"(teacher.on_error must be one of "fail", "drop", not "keep")"},
      {"dataset.shuffle=1", "dataset.shuffle must be true or false, not 1"},
      {"dataset.path=7", "dataset.path must be a string, not 7"},
      {"engine.stop_grace=-1", "engine.stop_grace must be a number from 0 to 86400, not -1"},
      {"telemetry.log_every=0", "telemetry.log_every must be an integer of at least 1, not 0"},
  }};
  for (const auto& [set, message] : cases) {
    CAPTURE(set);
    CHECK(error_of(kOffPolicy, {set}) == "r.json: " + message);
  }
}

TEST_CASE("an integer key takes no 3.0, a number key takes 3 and 3.0 alike") {
  CHECK(error_of(kOffPolicy, {"training.epochs=3.0"}) == "r.json: training.epochs must be an integer of at least 1, not 3.0");
  const auto whole = good(kOffPolicy, {"teacher.temperature=3"});
  const auto fraction = good(kOffPolicy, {"teacher.temperature=3.0"});
  CHECK(whole.teacher->temperature == 3.0);
  CHECK(json::serialize(whole.resolved) == json::serialize(fraction.resolved));
  CHECK(whole.identity() == fraction.identity());
  // Above 2^53, where a double is written with digits alone.
  const auto large = good(kOffPolicy, {"training.learning_rate=9007199254740994.0"});
  const auto large_whole = good(kOffPolicy, {"training.learning_rate=9007199254740994"});
  CHECK(json::serialize(large.resolved) == json::serialize(large_whole.resolved));
  CHECK(large.identity() == large_whole.identity());
}

TEST_CASE("lists are checked element by element") {
  const auto with = [](const std::string& metrics) { return error_of(kOffPolicy, {"evaluation.path=e", "evaluation.metrics=" + metrics}); };
  CHECK(with(R"(["exact_match"])") == "accepted");
  CHECK(with(R"(["bleu"])") == R"(r.json: evaluation.metrics must be a list of strings, each one of "exact_match", not ["bleu"])");
  CHECK(with("[1]") == R"(r.json: evaluation.metrics must be a list of strings, each one of "exact_match", not [1])");
  CHECK(with("exact_match") == R"(r.json: evaluation.metrics must be a list of strings, each one of "exact_match", not "exact_match")");
  CHECK(with("[]") == "r.json: evaluation.metrics is empty; name a metric, or leave out the section evaluation");
}

TEST_CASE("long values are cut in error texts, never through a character") {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "\u00e4";
  const auto message = error_of(kOffPolicy, {"engine.depth=" + text});
  CHECK(message.size() < 150);
  CHECK(message.substr(message.size() - 5) == "\u00e4...");
}

TEST_CASE("a section that is not an object is refused") {
  CHECK(error_of(kOffPolicy, {"training=3"}) == "r.json: training must be a section (an object with keys), not 3");
  CHECK(error_of(kOffPolicy, {"teacher=3"}) == "r.json: teacher must be a section (an object with keys), not 3");
  CHECK(error_of(kOffPolicy, {"evaluation=null"}) == "r.json: evaluation must be a section (an object with keys), not null");
  CHECK(error_of("[1]") == "r.json: a recipe must be a JSON object, not [1]");
}

TEST_CASE("a missing required key is named, with what it must be") {
  CHECK(begins(error_of("{}"),
               R"(r.json: the key method is missing; it must be one of "off_policy", "on_policy", "supervised" (off_policy: )"));
  CHECK(error_of(R"({"method": "x"})") == R"(r.json: method must be one of "off_policy", "on_policy", "supervised", not "x")");
  CHECK(begins(error_of(R"({"method": "off_policy"})"), R"(r.json: the key teacher.client is missing; it must be one of "simulated")"));
  CHECK(begins(error_of(R"({"method": "supervised"})"), R"(r.json: the key student.client is missing; it must be one of "simulated")"));
  CHECK(begins(error_of(R"({"method": "supervised", "student": {"client": "simulated"}})"),
               "r.json: the key dataset.path is missing; it must be a string ("));
  CHECK(begins(error_of(kOffPolicy, {"evaluation.every=3"}), "r.json: the key evaluation.path is missing"));
  CHECK(begins(error_of(kOffPolicy, {"teacher.client=torch"}), "r.json: the key teacher.teacher_model is missing"));
  CHECK(begins(error_of(kSupervised, {"student.client=torch"}), "r.json: the key student.model is missing"));
  CHECK(begins(error_of(kSupervised, {"student.client=gpu"}), R"(r.json: student.client must be one of "simulated")"));
}

TEST_CASE("what does not go together is refused with the reason") {
  CHECK(error_of(kOffPolicy, {"engine.staleness=2"}) ==
        "r.json: engine.staleness must be 0 with method \"off_policy\", not 2: only with on_policy does a stage read the student before it "
        "is trained");
  CHECK(begins(error_of(kSupervised, {"engine.staleness=1"}), "r.json: engine.staleness must be 0 with method \"supervised\", not 1"));
  CHECK(good(kOnPolicy, {"engine.staleness=2"}).engine.staleness == 2);
  CHECK(error_of(kOnPolicy, {"engine.staleness=65"}) == "r.json: engine.staleness must be an integer from 0 to 64, not 65");

  const auto on_policy_torch = error_of(kOnPolicy, {"student.client=torch", "student.model=s"});
  CHECK(begins(on_policy_torch, "r.json: on-policy distillation works with the simulated student only so far"));
  CHECK(contains(on_policy_torch, "use student.client \"simulated\" or method \"off_policy\""));

  CHECK(contains(error_of(kSupervised, {"teacher.client=simulated"}), "has no teacher; remove the section teacher"));
  CHECK(error_of(kOffPolicy, {"training.loss=importance_sampling"}) ==
        "r.json: training.loss must be \"cross_entropy\" with method \"off_policy\", not \"importance_sampling\"");
  CHECK(error_of(kOnPolicy, {"training.loss=cross_entropy"}) ==
        "r.json: training.loss must be \"importance_sampling\" with method \"on_policy\", not \"cross_entropy\"");
  CHECK(begins(error_of(kOffPolicy, {"training.loss=jsd"}), "r.json: training.loss must be one of"));

  // A short trial of a long recipe: the learning rate just does not reach its peak.
  CHECK(error_of(kOffPolicy, {"training.warmup_steps=50", "training.max_steps=20"}) == "accepted");
}

TEST_CASE("the default loss depends on the method") {
  CHECK(good(kOffPolicy).training.loss.name == "cross_entropy");
  CHECK(good(kSupervised).training.loss.name == "cross_entropy");
  CHECK(good(kOnPolicy).training.loss.name == "importance_sampling");
  CHECK_FALSE(good(kSupervised).teacher);
}

TEST_CASE("a key of another client is not merely unknown") {
  const auto keys_of = [](std::string_view client) {
    std::vector<std::string> names;
    for (const auto& key : recipe_keys(Method::off_policy, "simulated", client)) names.push_back(key.name);
    return names;
  };
  const auto simulated = keys_of("simulated");
  for (const auto& name : keys_of("torch")) {
    if (std::ranges::find(simulated, name) != simulated.end()) continue;
    CAPTURE(name);
    CHECK(error_of(kOffPolicy, {name + "=1"}) ==
          "r.json: the key " + name +
              " means nothing with method \"off_policy\", teacher.client \"simulated\" and student.client "
              "\"simulated\"; remove it");
  }
}

TEST_CASE("evaluation takes the teacher's max_tokens unless it has its own") {
  CHECK(good(kOffPolicy, {"evaluation.path=e", "teacher.max_tokens=28"}).evaluation->max_tokens == 28);
  CHECK(good(kOffPolicy, {"evaluation.path=e", "teacher.max_tokens=28", "evaluation.max_tokens=9"}).evaluation->max_tokens == 9);
  CHECK(good(kSupervised, {"evaluation.path=e"}).evaluation->max_tokens == 256);
}

TEST_CASE("an override is JSON where it can be, else a string, and the last one wins") {
  CHECK(good(kOffPolicy, {"dataset.path=some file=1.jsonl"}).dataset.path == "some file=1.jsonl");
  CHECK(good(kOffPolicy, {R"(dataset.path="7")"}).dataset.path == "7");
  CHECK(good(kOffPolicy, {"training.batch_size=5", "training.batch_size=6"}).training.batch_size == 6);
  CHECK(good(kOffPolicy, {R"(training={"batch_size": 9})"}).training.batch_size == 9);
  CHECK(good(R"({})", {"method=supervised", "dataset.path=p", "student.client=simulated"}).method == Method::supervised);
  CHECK(error_of(kOffPolicy, {"dataset.path.x=1"}) == "r.json: --set dataset.path.x: what stands before the last dot must be a section");
}

TEST_CASE("a name or a value cannot forge a line of the terminal") {
  CHECK(error_of(R"({"a\nb": 1})") == R"(r.json: unknown key a\u000ab)");
  CHECK(error_of(R"({"dataset": {"a\u001b[2J": 1}})") == R"(r.json: unknown key dataset.a\u001b[2J)");
  CHECK(error_of(R"({"a\n": 1, "a\n": 2})") == R"(r.json:1:16: the key a\u000a is given twice; keep one of the two)");
  CHECK(contains(error_of("{\"method\": \"\u009b\x7f\"}"), R"(not "\u009b\u007f")"));
  CHECK(error_of(kOffPolicy, {"dataset.path.\n=1"}) == R"(r.json: --set dataset.path.\u000a: what stands before the last dot must be a section)");
}

TEST_CASE("an override that no recipe file could hold is refused") {
  const auto change = parse_override("dataset.path=\xff");
  REQUIRE_FALSE(change);
  CHECK(change.error().message == R"(--set dataset.path=\xff is not UTF-8, and a recipe can hold nothing else)");
}

TEST_CASE("an override without a key or an equals sign is refused") {
  for (const auto* text : {"", "=", "=3", "training.batch_size", ".a=1", "a.=1", "a..b=1"}) {
    CAPTURE(text);
    const auto change = parse_override(text);
    REQUIRE_FALSE(change);
    CHECK(change.error().code == ErrorCode::invalid_input);
    CHECK(change.error().message == "--set takes KEY=VALUE with a key like training.batch_size, not \"" + std::string(text) + "\"");
  }
  CHECK(parse_override("a.b=c=d")->key == "a.b");
  CHECK(parse_override("a.b=c=d")->value == "c=d");
  CHECK(parse_override("a=")->value.empty());
}

TEST_CASE("a seed may have any size") {
  const std::string big = "340282366920938463463374607431768211456";  // 2^128
  for (const auto& recipe : {good(kOffPolicy, {"seed=" + big}), good(kOffPolicy, {"seed=\"000" + big + "\""})}) {
    CHECK(recipe.seed.to_string() == big);
    CHECK(recipe.resolved.at("seed") == json::value(big));
  }
  CHECK(good(kOffPolicy, {"seed=18446744073709551615"}).seed.to_string() == "18446744073709551615");
  const auto as_string = good(kOffPolicy, {R"(seed="007")"});
  CHECK(as_string.seed == BigSeed(7));
  CHECK(as_string.identity() == good(kOffPolicy, {"seed=7"}).identity());
  CHECK(as_string.identity() != good(kOffPolicy, {"seed=" + big}).identity());

  CHECK(error_of(kOffPolicy, {"seed=-1"}) == "r.json: seed must be an integer of at least 0, not -1");
  CHECK(error_of(kOffPolicy, {"seed=1.5"}) == "r.json: seed must be an integer of at least 0, not 1.5");
  CHECK(error_of(kOffPolicy, {"seed=true"}) == "r.json: seed must be an integer of at least 0, not true");
  for (const auto* text : {"\"-1\"", "\"\"", "\"0x7\"", "\"7 \""}) {
    CAPTURE(text);
    CHECK(error_of(kOffPolicy, {std::string("seed=") + text}) ==
          std::string("r.json: seed must be an integer of at least 0, or a string of its decimal digits, not ") + text);
  }
  const std::string in_file = R"({"method": "supervised", "seed": )" + big + "}";
  CHECK(contains(error_of(in_file), "does not fit in 64 bits; where the key takes a larger one, write it as a string"));
}

TEST_CASE("syntax errors, duplicate keys and deep nesting come with their place") {
  CHECK(error_of("{\n \"method\": \"supervised\",\n}") == "r.json:3:1: unexpected } (JSON has no comma behind the last element)");
  CHECK(contains(error_of(R"({"training": {"epochs": 1, "epochs": 2}})"), ": the key training.epochs is given twice"));
  CHECK(contains(error_of(R"({"training": {}, "training": {}})"), ": the key training is given twice"));
  CHECK(contains(error_of("{\"a\":" + std::string(40, '[')), "more than 32 levels"));
}

namespace {

/// A value that the key accepts and that is not the one it has.
json::value other_value(const KeyInfo& key, const json::value& now) {
  switch (key.type) {
    case KeyInfo::Type::boolean:
      return !(now.is_bool() && now.get_bool());  // null: not said
    case KeyInfo::Type::integer: {
      const auto number = now.is_null() ? static_cast<std::int64_t>(key.minimum.value_or(0)) : now.to_number<std::int64_t>();
      return key.maximum && static_cast<double>(number + 2) > *key.maximum ? number - 2 : number + 2;
    }
    case KeyInfo::Type::number:
      return now.to_number<double>() / 2 + (now.to_number<double>() == 0 ? 0.25 : 0);
    case KeyInfo::Type::string:
      for (const auto& choice : key.choices) {
        if (now != json::value(choice)) return json::value(choice);
      }
      return json::value("something else");
    case KeyInfo::Type::string_list:
      return json::array{"exact_match", "exact_match"};
    case KeyInfo::Type::section:
      return json::object{{"a", 1}};
  }
  return nullptr;
}

bool expected_in_identity(const std::string& path) {
  const std::vector<std::string> outside = {"dataset.path",      "dataset.cache",         "dataset.fingerprint", "teacher.teacher_model", "teacher.teacher_checkpoint_path", "teacher.teacher_store", "teacher.durability",
                                            "teacher.in_flight", "student.model",         "student.tokenizer",
                                            "engine.depth",      "engine.threads",        "engine.stop_grace", "engine.depth_bytes"};
  if (begins(path, "evaluation.") || begins(path, "checkpoint.") || begins(path, "telemetry.")) return false;
  if (path.size() >= 7 && path.substr(path.size() - 7) == "timeout") return false;
  return std::ranges::find(outside, path) == outside.end();
}

void check_identity_of_every_key(const std::string& text) {
  const std::vector<std::string> base = {"evaluation.path=e", "student.model=s", "student.tokenizer=v/"};
  const auto before = good(text, base);
  CHECK(before.identity().size() == 64);
  std::size_t tried = 0;
  for (const auto& key : recipe_keys(before.method, "simulated", "simulated")) {
    CAPTURE(key.name);
    const auto* now = find_value(before.resolved, key.name);
    if (!now || key.name == "method") continue;  // other methods have other keys
    auto sets = base;
    if (before.method != Method::supervised) sets.push_back("teacher.teacher_model=t");
    sets.push_back(key.name + "=" + json::serialize(other_value(key, *now)));
    const auto after = parse(text, sets);
    if (!after) {
      const bool is_bound_to_method = key.name == "engine.staleness" || key.name == "training.loss" || key.name == "student.client" ||
                                      key.name == "dataset.groups_per_batch" ||  // without a mix, all of the batch
                                      key.name == "dataset.teacher" || begins(key.name, "dataset.renderer");  // of mixes
      INFO(after.error().message);
      CHECK(is_bound_to_method);
      continue;
    }
    ++tried;
    CHECK(json::serialize(after->resolved) != json::serialize(before.resolved));
    CHECK((after->identity() != before.identity()) == expected_in_identity(key.name));
  }
  CHECK(tried > 30);
}

}  // namespace

TEST_CASE("identity changes with every key that can change a value and with no other") {
  check_identity_of_every_key(kOffPolicy);
  check_identity_of_every_key(kOnPolicy);
  check_identity_of_every_key(kSupervised);
  CHECK(good(kOffPolicy).identity() != good(kOnPolicy).identity());
  CHECK(good(kOnPolicy, {"engine.staleness=1"}).identity() != good(kOnPolicy).identity());
}

TEST_CASE("rows at a time round otherwise, so runs that differ in them are not the same run") {
  const auto identity = [](const std::string& rows) { return good(kOffPolicy, {"training.micro_batch_rows=" + rows}).identity(); };
  CHECK(identity("0") == good(kOffPolicy).identity());
  CHECK(identity("2") != identity("0"));
  CHECK(identity("2") != identity("4"));
  CHECK_FALSE(parse(kOffPolicy, {"training.micro_batch_rows=-1"}));
  CHECK_FALSE(parse(kOffPolicy, {"training.micro_batch_rows=1.5"}));
}

TEST_CASE("identity leaves out what later keys of its kinds will say, and does not depend on the order of keys") {
  const auto identity = [](json::object resolved) {
    Recipe recipe;
    recipe.resolved = std::move(resolved);
    return recipe.identity();
  };
  const auto plain = identity({{"seed", 1}, {"engine", {{"staleness", 0}}}});
  CHECK(identity({{"engine", {{"staleness", 0}}}, {"seed", 1}}) == plain);
  CHECK(identity({{"seed", 1}, {"engine", {{"staleness", 0}, {"depth_bytes", 5}}}}) == plain);
  CHECK(identity({{"seed", 1}, {"engine", {{"staleness", 0}, {"stall_timeout", 5}}}}) == plain);
  CHECK(identity({{"seed", 1}, {"engine", {{"staleness", 0}}}, {"checkpoint", {{"every", 5}}}}) == plain);
  CHECK(identity({{"seed", 1}, {"engine", {{"staleness", 0}}}, {"training", {{"every", 5}}}}) != plain);
  CHECK(identity({{"seed", 2}, {"engine", {{"staleness", 0}}}}) != plain);
}

TEST_CASE("a renderer's options are the recipe's, and none is made up") {
  const auto plain = good(kOffPolicy).student.rendering.options;
  CHECK(!plain.strip_thinking_from_history);
  CHECK(!plain.system_role_as_user);
  CHECK(!plain.current_date);
  const auto given = good(kOffPolicy, {"student.renderer_options.strip_thinking_from_history=false", "student.renderer_options.system_role_as_user=true",
                                       "student.renderer_options.current_date=2025-01-15"})
                         .student.rendering.options;
  CHECK(given.strip_thinking_from_history == false);
  CHECK(given.system_role_as_user == true);
  CHECK(given.current_date == "2025-01-15");
}

TEST_CASE("identity knows the built-in tokenizer from one in a directory") {
  CHECK(good(kOffPolicy).identity() != good(kOffPolicy, {"student.tokenizer=a/"}).identity());
  CHECK(good(kOffPolicy, {"student.tokenizer=b/"}).identity() == good(kOffPolicy, {"student.tokenizer=a/"}).identity());
}

namespace {

std::string mixed(const std::string& datasets, const std::string& more = R"("training": {"batch_size": 5})") {
  return R"({"method": "off_policy", "dataset": )" + datasets + R"(, "teacher": {"client": "simulated"}, "student": {"client": "simulated"}, )" + more + "}";
}

}  // namespace

TEST_CASE("a list of datasets is a mix, whose shares are the batch") {
  const auto recipe = good(mixed(R"([{"path": "a.jsonl", "groups_per_batch": 2, "on_bad_row": "skip"}, {"groups_per_batch": 3, "path": "b.db", "table": "t", "shuffle": false}])"));
  REQUIRE(recipe.datasets().size() == 2);
  CHECK(recipe.dataset.path == "a.jsonl");
  CHECK(recipe.dataset.groups_per_batch == 2);
  CHECK(recipe.dataset.on_bad_row == BadRowPolicy::skip);
  REQUIRE(recipe.mixed.size() == 1);
  CHECK(recipe.mixed[0].table == "t");
  CHECK_FALSE(recipe.mixed[0].shuffle);
  CHECK(recipe.mixed[0].on_bad_row == BadRowPolicy::fail);
  const auto again = good(json::serialize(recipe.resolved));
  CHECK(json::serialize(again.resolved) == json::serialize(recipe.resolved));
  CHECK(again.identity() == recipe.identity());
  CHECK((recipe.resolved.begin() + 2)->key() == "dataset");
  CHECK(good(kOffPolicy).dataset.groups_per_batch == 64);
  CHECK(good(kOffPolicy).mixed.empty());
  CHECK(good(mixed(R"([{"path": "a.jsonl", "groups_per_batch": 5}])")).mixed.empty());
}

TEST_CASE("a mix that does not add up is refused") {
  const auto two = [](const std::string& second) { return mixed(R"([{"path": "a.jsonl", "groups_per_batch": 2}, )" + second + "]"); };
  CHECK(error_of(two(R"({"path": "b.jsonl", "groups_per_batch": 2})")) == "r.json: training.batch_size must be the sum of groups_per_batch, which is 4, not 5");
  CHECK(error_of(two(R"({"path": "b.jsonl"})")) == "r.json: dataset[1].groups_per_batch is missing; it must be the number of the dataset's rows in a batch");
  CHECK(good(two(R"({"path": "b.jsonl", "groups_per_batch": 3, "max_prompt_tokens": 7})")).mixed[0].max_prompt_tokens == 7);
  CHECK(contains(error_of(two(R"({"path": "b.jsonl", "groups_per_batch": 0})")), "dataset[1]: dataset.groups_per_batch must be an integer from 1"));
  CHECK(contains(error_of(two(R"({"pth": "b.jsonl"})")), "dataset[1]: unknown key dataset.pth; did you mean dataset.path?"));
  CHECK(contains(error_of(two(R"({"groups_per_batch": 3})")), "dataset[1]: the key dataset.path is missing"));
  CHECK(contains(error_of(two("7")), "dataset[1] must be a section"));
  CHECK(contains(error_of(mixed("[]")), "dataset is an empty list"));
  CHECK(contains(error_of(kOffPolicy, {"dataset.groups_per_batch=3"}), "which is 3, not 64"));
}

TEST_CASE("a mix's identity knows its shares and its order, and no paths") {
  const auto of = [](const std::string& first, const std::string& second) { return good(mixed("[" + first + ", " + second + "]")).identity(); };
  const std::string a = R"({"path": "a", "groups_per_batch": 2})", b = R"({"path": "b", "groups_per_batch": 3})";
  CHECK(of(a, b) == of(R"({"path": "x", "groups_per_batch": 2, "fingerprint": "f", "cache": "c"})", R"({"path": "y", "groups_per_batch": 3})"));
  CHECK(of(a, b) != of(b, a));
  CHECK(of(a, b) != of(a, R"({"path": "b", "groups_per_batch": 3, "shuffle": false})"));
}

namespace {

/// Two datasets, the second with more keys of its own.
std::string two_with(const std::string& keys, const std::string& teacher = R"("client": "simulated", "max_tokens": 9, "top_k": 3, "vocab_size": 77)") {
  return R"({"method": "off_policy", "dataset": [{"path": "a", "groups_per_batch": 2}, {"path": "b", "groups_per_batch": 3, )" + keys +
         R"(}], "teacher": {)" + teacher + R"(}, "student": {"client": "simulated", "renderer": "qwen3", "renderer_options": {"strip_thinking_from_history": false}},
         "training": {"batch_size": 5}})";
}

}  // namespace

TEST_CASE("a dataset of a mix may have a teacher of its own, which says only what is other") {
  const auto recipe = good(two_with(R"("teacher": {"teacher_model": "m", "top_k": -1})"));
  CHECK_FALSE(recipe.dataset.teacher);
  CHECK(recipe.teacher_of(0).top_k == 3);
  const auto& own = recipe.teacher_of(1);
  CHECK(own.key == "dataset[1].teacher");
  CHECK(own.client == "simulated");
  CHECK(own.teacher_model == "m");
  CHECK(own.max_tokens == 9);
  CHECK(own.top_k == -1);
  CHECK(own.section.at("vocab_size") == 77);
  const auto again = good(json::serialize(recipe.resolved));
  CHECK(json::serialize(again.resolved) == json::serialize(recipe.resolved));
  CHECK(again.identity() == recipe.identity());
  CHECK(again.teacher_of(1).section == own.section);

  // Another client does not know the keys of the recipe's own.
  const auto other = good(two_with(R"("teacher": {"client": "torch", "teacher_model": "m"})"));
  CHECK(other.teacher_of(1).client == "torch");
  CHECK(other.teacher_of(1).max_tokens == 9);
  CHECK_FALSE(other.teacher_of(1).section.contains("vocab_size"));
  CHECK(other.teacher_of(0).section.at("vocab_size") == 77);
}

TEST_CASE("a teacher that two datasets ask is opened once, and one that nobody asks is not") {
  const auto teachers = [](const std::string& own) { return good(two_with("\"teacher\": " + own)).teachers(); };
  CHECK(good(two_with(R"("shuffle": true)")).teachers().of_dataset == std::vector<std::size_t>{0, 0});
  CHECK(teachers(R"({"temperature": 0.5, "on_error": "drop"})").of_dataset == std::vector<std::size_t>{0, 0});
  for (const std::string own : {R"({"teacher_model": "m"})", R"({"teacher_checkpoint_path": "w"})", R"({"vocab_size": 78})", R"({"client": "torch", "teacher_model": "m"})"}) {
    CAPTURE(own);
    const auto [opened, of_dataset] = teachers(own);
    REQUIRE(opened.size() == 2);
    CHECK(opened[0].key == "teacher");
    CHECK(opened[1].key == "dataset[1].teacher");
    CHECK(of_dataset == std::vector<std::size_t>{0, 1});
  }
  const auto recipe = good(R"({"method": "off_policy", "dataset": [{"path": "a", "groups_per_batch": 1, "teacher": {"teacher_model": "m"}},
      {"path": "b", "groups_per_batch": 1, "teacher": {"teacher_model": "m", "top_k": 4}}], "teacher": {"client": "simulated"},
      "student": {"client": "simulated"}, "training": {"batch_size": 2}})");
  REQUIRE(recipe.teachers().opened.size() == 1);
  CHECK(recipe.teachers().opened[0].key == "dataset[0].teacher");
  CHECK(good(kSupervised).teachers().opened.empty());
}

TEST_CASE("a dataset of a mix may have a renderer of its own; options of the student's hold where the renderer is the same") {
  const auto recipe = good(two_with(R"("renderer": "role_colon")"));
  CHECK_FALSE(recipe.dataset.rendering);
  CHECK(recipe.rendering_of(0).renderer == "qwen3");
  CHECK(recipe.rendering_of(1).renderer == "role_colon");
  CHECK(recipe.rendering_of(1).options == RendererOptions{});
  const auto same = good(two_with(R"("renderer": "qwen3")"));
  CHECK(same.rendering_of(1).options.strip_thinking_from_history == false);
  const auto option = good(two_with(R"("renderer_options": {"strip_thinking_from_history": true})"));
  CHECK(option.rendering_of(1).renderer == "qwen3");
  CHECK(option.rendering_of(1).options.strip_thinking_from_history == true);
  CHECK(option.student.rendering.options.strip_thinking_from_history == false);
  CHECK(good(json::serialize(option.resolved)).identity() == option.identity());
  CHECK(contains(error_of(two_with(R"("renderer": "qwen4")")), "dataset[1]: dataset.renderer must be one of"));
}

TEST_CASE("what is wrong in a dataset's own teacher is refused with its place") {
  const auto error = [](const std::string& own) { return error_of(two_with("\"teacher\": " + own)); };
  CHECK(contains(error("7"), "dataset[1]: dataset.teacher must be a section (an object with keys), or null, not 7"));
  CHECK(contains(error(R"({"max_token": 3})"), "r.json: dataset[1]: unknown key teacher.max_token; did you mean teacher.max_tokens?"));
  CHECK(contains(error(R"({"max_tokens": 0})"), "dataset[1]: teacher.max_tokens must be an integer from 1"));
  CHECK(contains(error(R"({"top_p": 0})"), "dataset[1]: teacher.top_p must be a number above 0 and at most 1, not 0"));
  CHECK(contains(error(R"({"top_k": 0})"), "dataset[1]: teacher.top_k must be an integer of at least 1, or -1"));
  CHECK(contains(error(R"({"client": 3})"), "dataset[1]: teacher.client must be one of"));
  CHECK(contains(error(R"({"client": "torch"})"), "dataset[1]: the key teacher.teacher_model is missing"));
  CHECK(contains(error(R"({"compute_threads": 2})"), "dataset[1]: unknown key teacher.compute_threads"));
  CHECK(contains(error(R"({"in_flight": 9})"), "dataset[1].teacher.in_flight must be 256, as in teacher, not 9: the two datasets ask one teacher"));
  CHECK(good(two_with(R"("teacher": {"in_flight": 9, "teacher_model": "m"})")).teacher_of(1).in_flight == 9);
  CHECK(contains(error_of(R"({"method": "supervised", "dataset": [{"path": "a", "groups_per_batch": 64, "teacher": {}}], "student": {"client": "simulated"}})"),
                 "dataset[0]: teacher means nothing with method \"supervised\""));
  CHECK(contains(error_of(kOffPolicy, {R"(dataset.teacher={"top_k": 3})"}), "dataset.teacher is for lists of datasets; the only one takes what teacher says"));
  CHECK(contains(error_of(kOffPolicy, {"dataset.renderer=qwen3"}), "dataset.renderer is for lists of datasets"));
  CHECK(contains(error_of(kOffPolicy, {"dataset.renderer_options.current_date=2025-01-15"}), "dataset.renderer_options.current_date is for lists of datasets"));
}

TEST_CASE("identity knows a dataset's own teacher and renderer, but no paths and not how many requests are under way") {
  const auto of = [](const std::string& keys) { return good(two_with(keys)).identity(); };
  const auto plain = of(R"("teacher": {"teacher_model": "m"})");
  CHECK(plain == of(R"("teacher": {"teacher_model": "n", "in_flight": 3, "teacher_checkpoint_path": "w"})"));
  CHECK(plain != of(R"("teacher": {"teacher_model": "m", "temperature": 0.5})"));
  CHECK(plain != of(R"("teacher": {"teacher_model": "m", "vocab_size": 5})"));
  CHECK(plain != of(R"("teacher": {"teacher_model": "m"}, "renderer": "role_colon")"));
  CHECK(plain != of(R"("teacher": {"teacher_model": "m"}, "renderer_options": {"strip_thinking_from_history": true})"));
}

TEST_CASE("relative paths start from the recipe's directory") {
  const auto recipe = good(kOffPolicy);
  CHECK(recipe.locate("train.jsonl") == "/data/recipes/train.jsonl");
  CHECK(recipe.locate("../x/./y") == "/data/x/y");
  CHECK(recipe.locate("/abs/y") == "/abs/y");
  const auto here = parse_recipe(kOffPolicy, "r.json", "", {});
  REQUIRE(here);
  CHECK(here->locate("a") == fs::current_path() / "a");
}

TEST_CASE("a recipe is read from its file") {
  const auto directory = fs::temp_directory_path() / "pipestill-recipe-test";
  fs::create_directories(directory);
  const auto file = directory / "r.json";
  std::ofstream(file) << kSupervised;
  const std::vector<Override> overrides = {{"seed", "9"}};
  const auto recipe = read_recipe(file, overrides);
  REQUIRE(recipe);
  CHECK(recipe->seed == BigSeed(9));
  CHECK(recipe->locate(recipe->dataset.path) == directory / "train.jsonl");

  std::ofstream(file) << "{]";
  const auto broken = read_recipe(file, {});
  REQUIRE_FALSE(broken);
  CHECK(begins(broken.error().message, file.string() + ":1:2: unexpected ]"));
  fs::remove_all(directory);
  const auto missing = read_recipe(file, {});
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code == ErrorCode::invalid_input);
  CHECK(contains(missing.error().message, file.string()));
}

TEST_CASE("the example's recipes are accepted") {
  const fs::path examples = fs::path(PIPESTILL_SOURCE_DIR) / "examples" / "tasks";
  const auto distill = read_recipe(examples / "distill.json", {});
  INFO((distill ? "" : distill.error().message));
  REQUIRE(distill);
  CHECK(distill->method == Method::off_policy);
  CHECK(fs::exists(distill->locate(distill->student.model)));
  CHECK(distill->training.max_steps == 1000);
  CHECK(distill->evaluation->max_tokens == 28);
  const auto teacher = read_recipe(examples / "teacher.json", {});
  INFO((teacher ? "" : teacher.error().message));
  REQUIRE(teacher);
  CHECK(teacher->method == Method::supervised);
  CHECK(fs::exists(teacher->locate(teacher->student.model)));
  CHECK(fs::exists(teacher->locate(teacher->student.tokenizer) / "chars.json"));
}

TEST_CASE("every described key is well formed") {
  for (const auto method : {Method::off_policy, Method::on_policy, Method::supervised}) {
    for (const auto* client : {"simulated", "torch"}) {
      const auto keys = recipe_keys(method, client, client);
      for (const auto& key : keys) {
        CAPTURE(key.name);
        CHECK(std::ranges::count(keys, key.name, &KeyInfo::name) == 1);
        CHECK_FALSE(key.help.empty());
        if (method == Method::supervised) CHECK_FALSE(begins(key.name, "teacher."));
        if (key.default_value.empty()) continue;
        // The default passes its own check.
        const KeyInfo alone = key;
        json::object given;
        CHECK(put_value(given, key.name, json::parse(key.default_value)));
        CHECK(resolve(given, std::span(&alone, 1), "r.json"));
      }
    }
  }
}

TEST_CASE("every client that a factory describes can be chosen") {
  for (const auto& client : describe_sampling_clients()) {
    CAPTURE(client.name);
    CHECK(good(kOffPolicy, {"teacher.teacher_model=t", "teacher.client=" + client.name}).teacher->client == client.name);
  }
  for (const auto& client : describe_training_clients()) {
    CAPTURE(client.name);
    CHECK(good(kSupervised, {"student.model=s", "student.client=" + client.name}).student.client == client.name);
  }
}

TEST_CASE("the stages of a method are described in the order of its flow") {
  const auto names = [](Method method) {
    std::string list;
    for (const auto& stage : describe_stages(method)) list += (list.empty() ? "" : " ") + stage.name;
    return list;
  };
  CHECK(names(Method::off_policy) == "init_teacher batch_source teacher_inference datum_builder forward_backward evaluation checkpoint metrics_sink");
  CHECK(names(Method::on_policy) ==
        "init_teacher batch_source student_inference teacher_inference datum_builder forward_backward evaluation checkpoint metrics_sink");
  CHECK(names(Method::supervised) == "batch_source datum_builder forward_backward evaluation checkpoint metrics_sink");
}
