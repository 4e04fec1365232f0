#include "nodes/recipe.hpp"

#include <algorithm>
#include <array>
#include <boost/json/serialize.hpp>
#include <boost/json/value_to.hpp>
#include <charconv>
#include <cmath>
#include <initializer_list>
#include <tuple>

#include "nodes/describe.hpp"
#include "nodes/recipe_schema.hpp"
#include "ports/printable.hpp"
#include "ports/sampling/sampling_factory.hpp"
#include "ports/sha256.hpp"
#include "ports/strict_json.hpp"
#include "ports/text_file.hpp"
#include "ports/training/training_factory.hpp"

namespace pipestill {
namespace {

namespace json = boost::json;

constexpr std::array<std::string_view, 1> kOptionalSections = {"evaluation"};
constexpr std::array kMethods = {Method::off_policy, Method::on_policy, Method::supervised};

// Which keys there are.

void merge_key(std::vector<KeyInfo>& keys, KeyInfo key) {
  const auto same = std::ranges::find(keys, key.name, &KeyInfo::name);
  if (same == keys.end()) {
    keys.push_back(std::move(key));
  } else {
    *same = std::move(key);
  }
}

void merge_adapter(std::vector<KeyInfo>& keys, const std::vector<Description>& adapters, std::string_view client,
                   const std::string& section) {
  const auto adapter = std::ranges::find(adapters, client, &Description::name);
  if (adapter == adapters.end()) return;
  for (auto key : adapter->keys) {
    key.name.insert(0, section + ".");
    merge_key(keys, std::move(key));
  }
}

/// Only the simulated models exist without being named.
void require_model(std::vector<KeyInfo>& keys, std::string_view path, std::string_view client) {
  const auto key = std::ranges::find(keys, path, &KeyInfo::name);
  if (key != keys.end() && !client.empty() && client != "simulated") key->is_required = true;
}

std::size_t section_rank(const KeyInfo& key) {
  constexpr std::array<std::string_view, 9> kOrder = {"", "dataset", "teacher", "student", "training", "engine", "evaluation", "checkpoint", "telemetry"};
  const auto dot = key.name.find('.');
  const auto section = dot == std::string::npos ? std::string_view() : std::string_view(key.name).substr(0, dot);
  return static_cast<std::size_t>(std::ranges::find(kOrder, section) - kOrder.begin());
}

/// Every key that some method and some clients know.
std::vector<KeyInfo> all_keys() {
  std::vector<KeyInfo> keys;
  const auto samplers = describe_sampling_clients();
  const auto trainers = describe_training_clients();
  for (const auto method : kMethods) {
    for (auto& key : recipe_keys(method, {}, {})) merge_key(keys, std::move(key));
  }
  for (const auto& sampler : samplers) merge_adapter(keys, samplers, sampler.name, "teacher");
  for (const auto& trainer : trainers) merge_adapter(keys, trainers, trainer.name, "student");
  return keys;
}

// From text to an object with known keys.

/// The values at `paths` alone, checked: they decide which other keys there are.
Result<json::object> resolve_only(const json::object& given, const std::vector<KeyInfo>& keys,
                                  std::initializer_list<std::string_view> paths, const std::string& name) {
  json::object part;
  std::vector<KeyInfo> part_keys;
  for (const auto path : paths) {
    part_keys.push_back(*std::ranges::find(keys, path, &KeyInfo::name));
    const auto section = path.substr(0, path.find('.'));
    if (const auto* value = find_value(given, path)) {
      std::ignore = put_value(part, path, *value);
    } else if (const auto* whole = given.if_contains(section); whole && !whole->is_object()) {
      part[section] = *whole;
    }
  }
  return resolve(part, part_keys, name);
}

json::value override_value(const std::string& text) {
  auto value = parse_strict_json(text, "--set");
  return value ? std::move(*value) : json::value(text);
}

/// A seed given as a string becomes a number where it fits in 64 bits; where not, it is taken out and returned.
Result<std::string> take_long_seed(json::object& given, const std::string& name) {
  auto* value = given.if_contains("seed");
  if (!value || !value->is_string()) return "";
  const auto seed = BigSeed::parse(value->get_string());
  if (!seed) return refuse(name, "seed must be an integer of at least 0, or a string of its decimal digits, not " + show(*value));
  const auto digits = seed->to_string();
  std::uint64_t number = 0;
  if (std::from_chars(digits.data(), digits.data() + digits.size(), number).ec == std::errc()) {
    *value = number;
    return "";
  }
  given.erase("seed");
  return digits;
}

/// A list of datasets, if there is one: taken out, for a section is an object.
Result<std::optional<json::array>> take_mix(json::object& given, const std::string& name) {
  auto* value = given.if_contains("dataset");
  if (!value || !value->is_array()) return std::nullopt;
  auto mix = std::move(value->get_array());
  given.erase("dataset");
  if (mix.empty()) return refuse(name, "dataset is an empty list; it must have a section for each dataset");
  for (std::size_t i = 0; i < mix.size(); ++i) {
    if (!mix[i].is_object()) return refuse(name, "dataset[" + std::to_string(i) + "] must be a section (an object with keys), not " + show(mix[i]));
  }
  return mix;
}

std::string place_of(std::size_t dataset) { return "dataset[" + std::to_string(dataset) + "]"; }

/// Every dataset's section, checked like the only one's.
Result<json::array> resolve_mix(const json::array& mix, const std::vector<KeyInfo>& keys, const std::string& name) {
  json::array resolved;
  for (std::size_t i = 0; i < mix.size(); ++i) {
    const json::object section{{"dataset", mix[i]}};
    const auto one = resolve(section, keys, name + ": " + place_of(i));
    if (!one) return fail(one.error());
    resolved.push_back(one->at("dataset"));
  }
  return resolved;
}

/// The list takes its section's place, before the other sections.
json::object with_mix(const json::object& resolved, json::array mix) {
  json::object whole;
  bool is_placed = false;
  for (const auto& member : resolved) {
    if (member.value().is_object() && !std::exchange(is_placed, true)) whole["dataset"] = std::move(mix);
    whole[member.key()] = member.value();
  }
  return whole;
}

// From the object to a Recipe.

/// Reads an object that resolve() has checked: every path is there, with its type.
class Values {
 public:
  explicit Values(const json::object& object) : object_(object) {}

  template <class T>
  [[nodiscard]] T get(std::string_view path) const {
    return json::value_to<T>(at(path));
  }
  template <class T>
  [[nodiscard]] std::optional<T> get_optional(std::string_view path) const {
    if (at(path).is_null()) return std::nullopt;
    return get<T>(path);
  }
  [[nodiscard]] std::string text_or_empty(std::string_view path) const { return get_optional<std::string>(path).value_or(""); }
  template <class E>
  [[nodiscard]] E one_of(std::string_view path, std::initializer_list<std::pair<std::string_view, E>> meanings) const {
    const auto text = get<std::string>(path);
    return std::ranges::find(meanings, std::string_view(text), &std::pair<std::string_view, E>::first)->second;
  }
  [[nodiscard]] RowPolicy row_policy(std::string_view path) const {
    return one_of<RowPolicy>(path, {{"fail", RowPolicy::fail}, {"drop", RowPolicy::drop}, {"keep", RowPolicy::keep}});
  }
  [[nodiscard]] const json::value& at(std::string_view path) const { return *find_value(object_, path); }

 private:
  const json::object& object_;
};

RendererOptions read_renderer_options(const Values& values, const std::string& section) {
  const auto path = [&](const char* key) { return section + ".renderer_options." + key; };
  return {.strip_thinking_from_history = values.get_optional<bool>(path("strip_thinking_from_history")),
          .system_role_as_user = values.get_optional<bool>(path("system_role_as_user")),
          .current_date = values.get_optional<std::string>(path("current_date"))};
}

Recipe::Dataset read_dataset(const Values& values) {
  return {.path = values.get<std::string>("dataset.path"),
          .shuffle = values.get<bool>("dataset.shuffle"),
          .max_prompt_tokens = values.get_optional<std::size_t>("dataset.max_prompt_tokens"),
          .on_bad_row = values.one_of<BadRowPolicy>("dataset.on_bad_row", {{"fail", BadRowPolicy::fail}, {"skip", BadRowPolicy::skip}}),
          .table = values.text_or_empty("dataset.table"),
          .query = values.text_or_empty("dataset.query"),
          .cache = values.text_or_empty("dataset.cache"),
          .fingerprint = values.text_or_empty("dataset.fingerprint"),
          .groups_per_batch = values.get_optional<std::size_t>("dataset.groups_per_batch").value_or(0)};
}

Recipe::Teacher read_teacher(const Values& values, const std::string& key) {
  return {.key = key,
          .client = values.get<std::string>("teacher.client"),
          .teacher_model = values.text_or_empty("teacher.teacher_model"),
          .teacher_checkpoint_path = values.text_or_empty("teacher.teacher_checkpoint_path"),
          .teacher_store = values.text_or_empty("teacher.teacher_store"),
          .durability = values.one_of<Durability>("teacher.durability", {{"process", Durability::process}, {"power", Durability::power}}),
          .max_tokens = values.get<int>("teacher.max_tokens"),
          .temperature = values.get<double>("teacher.temperature"),
          .top_k = values.get<int>("teacher.top_k"),
          .top_p = values.get<double>("teacher.top_p"),
          .in_flight = values.get<std::size_t>("teacher.in_flight"),
          .on_error = values.row_policy("teacher.on_error"),
          .on_empty = values.row_policy("teacher.on_empty"),
          .on_truncated = values.row_policy("teacher.on_truncated"),
          .section = values.at("teacher").get_object()};
}

/// What a dataset of a mix says of its renderer; nothing, if it is the student's as it is.
std::optional<Recipe::Rendering> read_own_rendering(const Values& dataset, const Recipe::Rendering& students) {
  const auto renderer = dataset.text_or_empty("dataset.renderer");
  const auto own = read_renderer_options(dataset, "dataset");
  if (renderer.empty() && own == RendererOptions{}) return std::nullopt;
  if (!renderer.empty() && renderer != students.renderer) return Recipe::Rendering{renderer, own};
  auto options = students.options;  // of the same renderer
  if (own.strip_thinking_from_history) options.strip_thinking_from_history = own.strip_thinking_from_history;
  if (own.system_role_as_user) options.system_role_as_user = own.system_role_as_user;
  if (own.current_date) options.current_date = own.current_date;
  return Recipe::Rendering{students.renderer, options};
}

Recipe::Training read_training(const Values& values) {
  using Schedule = LearningRateSchedule;
  return {.batch_size = values.get<std::size_t>("training.batch_size"),
          .max_length = values.get<std::size_t>("training.max_length"),
          .epochs = values.get<std::uint64_t>("training.epochs"),
          .max_steps = values.get_optional<std::uint64_t>("training.max_steps"),
          .adam = {.learning_rate = values.get<double>("training.learning_rate"),
                   .beta1 = values.get<double>("training.adam_beta1"),
                   .beta2 = values.get<double>("training.adam_beta2"),
                   .eps = values.get<double>("training.adam_eps"),
                   .weight_decay = values.get<double>("training.weight_decay"),
                   .grad_clip_norm = values.get<double>("training.grad_clip_norm")},
          .lr_schedule = values.one_of<Schedule>(
              "training.lr_schedule", {{"constant", Schedule::constant}, {"linear", Schedule::linear}, {"cosine", Schedule::cosine}}),
          .warmup_steps = values.get<std::uint64_t>("training.warmup_steps"),
          .lr_min_ratio = values.get<double>("training.lr_min_ratio"),
          .loss = {.name = values.get<std::string>("training.loss"),
                   .normalization = values.one_of<Normalization>(
                       "training.normalization",
                       {{"token_mean", Normalization::token_mean}, {"seq_mean", Normalization::seq_mean}, {"sum", Normalization::sum}}),
                   .micro_batch_rows = values.get<std::size_t>("training.micro_batch_rows")}};
}

Recipe::Engine read_engine(const Values& values) {
  const auto seconds = [&](const char* key) { return std::chrono::round<std::chrono::nanoseconds>(std::chrono::duration<double>(values.get<double>(key))); };
  return {.depth = values.get<std::size_t>("engine.depth"),
          .threads = values.get<std::size_t>("engine.threads"),
          .staleness = values.get<std::size_t>("engine.staleness"),
          .depth_bytes = values.get<std::uint64_t>("engine.depth_bytes"),
          .stop_grace = seconds("engine.stop_grace"),
          .stall_timeout = seconds("engine.stall_timeout")};
}

Recipe::Evaluation read_evaluation(const Values& values) {
  return {.path = values.get<std::string>("evaluation.path"),
          .every = values.get<std::uint64_t>("evaluation.every"),
          .metrics = values.get<std::vector<std::string>>("evaluation.metrics"),
          .max_tokens = values.get<int>("evaluation.max_tokens"),
          .limit = values.get_optional<std::size_t>("evaluation.limit")};
}

// What no key alone can say.

Result<void> expect(const Values& values, std::string_view path, bool is_good, const char* accepted, const std::string& name) {
  if (is_good) return {};
  return refuse(name, std::string(path) + " must be " + accepted + ", not " + show(values.at(path)));
}

Result<void> check_sampling_ranges(const Values& values, const std::string& name) {
  if (auto good = expect(values, "teacher.top_p", values.get<double>("teacher.top_p") > 0, "a number above 0 and at most 1", name); !good) return good;
  return expect(values, "teacher.top_k", values.get<int>("teacher.top_k") != 0, "an integer of at least 1, or -1 for all tokens", name);
}

Result<void> check_open_ranges(const Values& values, bool has_teacher, const std::string& name) {
  const auto number = [&](std::string_view path) { return values.get<double>(path); };
  const auto check = [&](std::string_view path, bool is_good, const char* accepted) { return expect(values, path, is_good, accepted, name); };
  for (const std::string_view path : {"training.learning_rate", "training.adam_eps"}) {
    if (auto good = check(path, number(path) > 0, "a number above 0"); !good) return good;
  }
  for (const std::string_view path : {"training.adam_beta1", "training.adam_beta2"}) {
    if (auto good = check(path, number(path) < 1, "a number of at least 0 and below 1"); !good) return good;
  }
  return has_teacher ? check_sampling_ranges(values, name) : Result<void>();
}

/// What belongs to lists of datasets.
Result<void> check_only_dataset(const Values& values, const std::string& name) {
  for (const auto& [key, instead] : {std::pair{"dataset.teacher", "teacher"},
                                     std::pair{"dataset.renderer", "student.renderer"},
                                     std::pair{"dataset.renderer_options.strip_thinking_from_history", "student.renderer_options"},
                                     std::pair{"dataset.renderer_options.system_role_as_user", "student.renderer_options"},
                                     std::pair{"dataset.renderer_options.current_date", "student.renderer_options"}}) {
    if (!values.at(key).is_null()) return refuse(name, std::string(key) + " is for lists of datasets; the only one takes what " + instead + " says");
  }
  return {};
}

/// A dataset's own teacher, whole: what it does not say itself is as the section teacher of `recipes` says, as far as its client knows the key.
Result<json::object> resolve_own_teacher(const json::object& own, const json::object& recipes, const std::vector<KeyInfo>& keys, const std::string& name) {
  json::object given{{"teacher", own}};
  for (const auto& key : keys) {
    if (find_value(given, key.name)) continue;
    if (const auto* value = find_value(recipes, key.name)) std::ignore = put_value(given, key.name, *value);
  }
  return resolve(given, keys, name);
}

/// `recipes`: the recipe as it was given, whose section teacher the datasets' own are completed from.
Result<void> resolve_own_teachers(json::array& mix, Method method, std::string_view student_client, const json::object& recipes, const std::string& name) {
  for (std::size_t i = 0; i < mix.size(); ++i) {
    auto& teacher = mix[i].at("teacher");
    if (teacher.is_null()) continue;
    const auto place = name + ": " + place_of(i);
    if (method == Method::supervised) return refuse(place, "teacher means nothing with method \"supervised\", which has no teacher; remove it");
    auto& own = teacher.get_object();
    const auto* client = own.if_contains("client");
    if (!client) client = find_value(recipes, "teacher.client");
    auto keys = recipe_keys(method, client->is_string() ? std::string_view(client->get_string()) : std::string_view(), student_client);
    std::erase_if(keys, [](const KeyInfo& key) { return !key.name.starts_with("teacher."); });
    auto whole = resolve_own_teacher(own, recipes, keys, place);
    if (!whole) return fail(whole.error());
    if (auto good = check_sampling_ranges(Values(*whole), place); !good) return good;
    teacher = std::move(whole->at("teacher"));
  }
  return {};
}

/// The shares of a batch, and what only a mix tells apart by dataset.
Result<void> check_mix(Recipe& recipe, const std::string& name) {
  if (recipe.mixed.empty() && recipe.dataset.groups_per_batch == 0) recipe.dataset.groups_per_batch = recipe.training.batch_size;
  std::size_t groups = 0, number = 0;
  for (const auto& dataset : recipe.datasets()) {
    const auto place = recipe.mixed.empty() ? std::string("dataset") : place_of(number);
    if (dataset.groups_per_batch == 0) return refuse(name, place + ".groups_per_batch is missing; it must be the number of the dataset's rows in a batch");
    groups += dataset.groups_per_batch;
    ++number;
  }
  if (groups == recipe.training.batch_size) return {};
  return refuse(name, "training.batch_size must be the sum of groups_per_batch, which is " + std::to_string(groups) + ", not " + std::to_string(recipe.training.batch_size));
}

/// What a teacher is opened with: its section without what is said of requests and their answers.
json::object session_keys(const Recipe::Teacher& teacher) {
  json::object keys = teacher.section;
  for (const auto& of_requests : describe_teacher_inference().keys) keys.erase(std::string_view(of_requests.name).substr(std::string_view("teacher.").size()));
  return keys;
}

/// Datasets that ask one teacher share the queue in front of it.
Result<void> check_queues(const Recipe& recipe, const std::string& name) {
  const auto [opened, of_dataset] = recipe.teachers();
  for (std::size_t i = 0; i < of_dataset.size(); ++i) {
    const auto in_flight = recipe.teacher_of(i).in_flight, expected = opened[of_dataset[i]].in_flight;
    if (in_flight == expected) continue;
    return refuse(name, place_of(i) + ".teacher.in_flight must be " + std::to_string(expected) + ", as in " + opened[of_dataset[i]].key + ", not " + std::to_string(in_flight) +
                            ": the two datasets ask one teacher");
  }
  return {};
}

Result<void> check_together(const Recipe& recipe, const std::string& name) {
  const auto method = "method \"" + std::string(to_string(recipe.method)) + "\"";
  const bool is_on_policy = recipe.method == Method::on_policy;
  if (!is_on_policy && recipe.engine.staleness != 0) {
    return refuse(name, "engine.staleness must be 0 with " + method + ", not " + std::to_string(recipe.engine.staleness) +
                            ": only with on_policy does a stage read the student before it is trained");
  }
  // TrainingCapabilities::can_sample_snapshots_in_training says the same of the torch student, but only once a client is made.
  if (is_on_policy && recipe.student.client == "torch") {
    return refuse(name,
                  "on-policy distillation works with the simulated student only so far: the student of student.client \"torch\" cannot be "
                  "sampled while it is trained; use student.client \"simulated\" or method \"off_policy\"");
  }
  const std::string loss = is_on_policy ? "importance_sampling" : "cross_entropy";
  if (recipe.training.loss.name != loss) {
    return refuse(name, "training.loss must be \"" + loss + "\" with " + method + ", not \"" + recipe.training.loss.name + "\"");
  }
  if (recipe.evaluation && recipe.evaluation->metrics.empty()) {
    return refuse(name, "evaluation.metrics is empty; name a metric, or leave out the section evaluation");
  }
  return {};
}

/// Whether two runs that differ in this key may still be the same run.
bool is_outside_identity(std::string_view path, const json::value& value) {
  constexpr std::array<std::string_view, 3> kSections = {"evaluation.", "checkpoint.", "telemetry."};
  constexpr std::array<std::string_view, 13> kKeys = {"dataset.path",       "dataset.cache",         "dataset.fingerprint", "teacher.teacher_store", "teacher.durability",
                                                      "teacher.in_flight",  "teacher.teacher_model", "teacher.teacher_checkpoint_path",
                                                      "student.model",      "engine.depth",          "engine.depth_bytes",
                                                      "engine.threads",     "engine.stop_grace"};
  if (std::ranges::any_of(kSections, [&](std::string_view section) { return path.starts_with(section); })) return true;
  if (path == "student.tokenizer") return value != json::value("bytes");  // the built-in one is a name, all others are paths
  return std::ranges::find(kKeys, path) != kKeys.end() || path.ends_with("timeout");
}

/// `number` tells the sections of a list apart.
void collect_identity(const json::object& object, const std::string& prefix, const std::string& number, std::map<std::string, std::string>& keys) {
  constexpr std::string_view kDataset = "dataset.";
  for (const auto& member : object) {
    const auto path = prefix + std::string(member.key());
    const bool is_teachers = path.starts_with("dataset.teacher.");  // of one dataset of a mix
    if (member.value().is_object()) {
      collect_identity(member.value().get_object(), path + ".", number, keys);
    } else if (path == "dataset" && member.value().is_array()) {
      const auto& mix = member.value().get_array();
      for (std::size_t i = 0; i < mix.size(); ++i) collect_identity(mix[i].get_object(), path + ".", "[" + std::to_string(i) + "]", keys);
    } else if (!is_outside_identity(is_teachers ? std::string_view(path).substr(kDataset.size()) : path, member.value())) {
      keys.emplace(path + number, json::serialize(member.value()));
    }
  }
}

}  // namespace

std::string_view to_string(Method method) {
  switch (method) {
    case Method::off_policy:
      return "off_policy";
    case Method::on_policy:
      return "on_policy";
    case Method::supervised:
      return "supervised";
  }
  return {};
}

std::filesystem::path Recipe::locate(const std::filesystem::path& path) const {
  return (std::filesystem::current_path() / directory / path).lexically_normal();
}

std::vector<Recipe::Dataset> Recipe::datasets() const {
  std::vector<Dataset> all{dataset};
  all.insert(all.end(), mixed.begin(), mixed.end());
  return all;
}

Recipe::Teachers Recipe::teachers() const {
  Teachers teachers;
  if (!teacher) return teachers;
  std::vector<json::object> seen;
  for (std::size_t i = 0; i <= mixed.size(); ++i) {
    const auto& asked = teacher_of(i);
    auto session = session_keys(asked);
    const auto place = std::ranges::find(seen, session);
    teachers.of_dataset.push_back(static_cast<std::size_t>(place - seen.begin()));
    if (place != seen.end()) continue;
    seen.push_back(std::move(session));
    teachers.opened.push_back(asked);
  }
  return teachers;
}

std::map<std::string, std::string> Recipe::identity_keys() const {
  std::map<std::string, std::string> keys;  // sorted, so that the order of descriptions does not count
  collect_identity(resolved, "", "", keys);
  return keys;
}

std::string Recipe::identity() const {
  std::string text;
  for (const auto& [key, value] : identity_keys()) text += key + "=" + value + "\n";
  return sha256_hex(text);
}

Result<Override> parse_override(std::string_view text) {
  const auto equals = text.find('=');
  const auto key = text.substr(0, equals);
  const bool has_empty_part = key.empty() || key.front() == '.' || key.back() == '.' || key.find("..") != std::string_view::npos;
  if (equals == std::string_view::npos || has_empty_part) {
    return fail(ErrorCode::invalid_input, "--set takes KEY=VALUE with a key like training.batch_size, not \"" + printable(text) + "\"");
  }
  if (!is_utf8(text)) {
    return fail(ErrorCode::invalid_input, "--set " + printable(text) + " is not UTF-8, and a recipe can hold nothing else");
  }
  return Override{std::string(key), std::string(text.substr(equals + 1))};
}

std::vector<KeyInfo> recipe_keys(Method method, std::string_view teacher_client, std::string_view student_client) {
  auto keys = describe_run().keys;
  for (auto& key : describe_student().keys) merge_key(keys, std::move(key));
  for (auto& stage : describe_stages(method)) {
    for (auto& key : stage.keys) merge_key(keys, std::move(key));
  }
  if (method != Method::supervised) merge_adapter(keys, describe_sampling_clients(), teacher_client, "teacher");
  merge_adapter(keys, describe_training_clients(), student_client, "student");
  require_model(keys, "teacher.teacher_model", teacher_client);
  require_model(keys, "student.model", student_client);
  std::ranges::stable_sort(keys, {}, section_rank);
  return keys;
}

Result<Recipe> parse_recipe(std::string_view text, const std::string& name, const std::filesystem::path& directory,
                            std::span<const Override> overrides) {
  auto parsed = parse_strict_json(text, name);
  if (!parsed) return fail(parsed.error());
  if (!parsed->is_object()) return refuse(name, "a recipe must be a JSON object, not " + show(*parsed));
  auto& given = parsed->get_object();
  for (const auto& change : overrides) {
    if (!put_value(given, change.key, override_value(change.value))) {
      return refuse(name, "--set " + printable(change.key) + ": what stands before the last dot must be a section");
    }
  }

  const auto mix = take_mix(given, name);
  if (!mix) return fail(mix.error());
  const auto known = all_keys();
  if (find_unknown_key(given, known)) return fail(resolve(given, known, name).error());  // a slip of the pen, whatever the method

  const auto has_method = resolve_only(given, known, {"method"}, name);
  if (!has_method) return fail(has_method.error());
  const auto method = Values(*has_method)
                          .one_of<Method>("method", {{to_string(Method::off_policy), Method::off_policy},
                                                     {to_string(Method::on_policy), Method::on_policy},
                                                     {to_string(Method::supervised), Method::supervised}});
  const bool has_teacher = method != Method::supervised;
  if (!has_teacher && given.contains("teacher")) {
    return refuse(name,
                  "method \"supervised\" learns the dataset's own answers and has no teacher; remove the section teacher, or choose "
                  "off_policy");
  }
  const auto clients = has_teacher ? resolve_only(given, known, {"teacher.client", "student.client"}, name)
                                   : resolve_only(given, known, {"student.client"}, name);
  if (!clients) return fail(clients.error());
  const auto teacher_client = has_teacher ? Values(*clients).get<std::string>("teacher.client") : std::string();
  const auto student_client = Values(*clients).get<std::string>("student.client");

  auto keys = recipe_keys(method, teacher_client, student_client);
  if (const auto foreign = find_unknown_key(given, keys)) {
    return refuse(name, "the key " + *foreign + " means nothing with method \"" + std::string(to_string(method)) + "\"" +
                            (has_teacher ? ", teacher.client \"" + teacher_client + "\"" : "") + " and student.client \"" + student_client +
                            "\"; remove it");
  }
  const auto long_seed = take_long_seed(given, name);
  if (!long_seed) return fail(long_seed.error());
  json::array datasets;
  if (*mix) {
    const auto of_datasets = std::stable_partition(keys.begin(), keys.end(), [](const KeyInfo& key) { return !key.name.starts_with("dataset."); });
    auto resolved_mix = resolve_mix(**mix, {of_datasets, keys.end()}, name);
    if (!resolved_mix) return fail(resolved_mix.error());
    datasets = *std::move(resolved_mix);
    keys.erase(of_datasets, keys.end());
  }
  auto resolved = resolve(given, keys, name, kOptionalSections);
  if (!resolved) return fail(resolved.error());
  if (!long_seed->empty()) (*resolved)["seed"] = *long_seed;
  if (const auto* limit = find_value(*resolved, "evaluation.max_tokens"); limit && limit->is_null()) {
    std::ignore =
        put_value(*resolved, "evaluation.max_tokens", has_teacher ? *find_value(*resolved, "teacher.max_tokens") : json::value(256));
  }

  const Values values(*resolved);
  if (auto good = check_open_ranges(values, has_teacher, name); !good) return fail(good.error());
  Recipe recipe;
  recipe.method = method;
  recipe.seed = long_seed->empty() ? BigSeed(values.get<std::uint64_t>("seed")) : *BigSeed::parse(*long_seed);
  if (has_teacher) recipe.teacher = read_teacher(values, "teacher");
  recipe.student = {.client = student_client,
                    .model = values.text_or_empty("student.model"),
                    .tokenizer = values.get<std::string>("student.tokenizer"),
                    .rendering = {values.get<std::string>("student.renderer"), read_renderer_options(values, "student")}};
  if (datasets.empty()) {
    if (auto good = check_only_dataset(values, name); !good) return fail(good.error());
    recipe.dataset = read_dataset(values);
  } else {
    if (auto whole = resolve_own_teachers(datasets, method, student_client, given, name); !whole) return fail(whole.error());
    for (std::size_t i = 0; i < datasets.size(); ++i) {
      const json::object one{{"dataset", datasets[i]}};
      auto& dataset = recipe.mixed.emplace_back(read_dataset(Values(one)));
      const auto& teacher = datasets[i].at("teacher");
      const json::object own{{"teacher", teacher}};
      if (!teacher.is_null()) dataset.teacher = read_teacher(Values(own), place_of(i) + ".teacher");
      dataset.rendering = read_own_rendering(Values(one), recipe.student.rendering);
    }
    recipe.dataset = recipe.mixed.front();
    recipe.mixed.erase(recipe.mixed.begin());
    *resolved = with_mix(*resolved, datasets);
  }
  recipe.training = read_training(values);
  recipe.engine = read_engine(values);
  if (resolved->contains("evaluation")) recipe.evaluation = read_evaluation(values);
  recipe.checkpoint = {.every = values.get<std::uint64_t>("checkpoint.every"),
                       .keep_last = values.get<std::size_t>("checkpoint.keep_last"),
                       .keep_every = values.get<std::uint64_t>("checkpoint.keep_every")};
  recipe.telemetry = {.trace = values.get<bool>("telemetry.trace"), .log_every = values.get<std::uint64_t>("telemetry.log_every")};
  if (auto good = check_mix(recipe, name); !good) return fail(good.error());
  if (auto good = check_queues(recipe, name); !good) return fail(good.error());
  if (auto good = check_together(recipe, name); !good) return fail(good.error());
  recipe.resolved = std::move(*resolved);
  recipe.directory = std::filesystem::current_path() / directory;
  return recipe;
}

Result<Recipe> read_recipe(const std::filesystem::path& file, std::span<const Override> overrides) {
  const auto text = read_text_file(file, kMaxJsonBytes);
  if (!text) return fail(text.error());
  return parse_recipe(*text, file.string(), file.parent_path(), overrides);
}

}  // namespace pipestill
