#pragma once
// Recipe: what a run is to do, checked strictly.
#include <boost/json/object.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graph/base/description.hpp"
#include "graph/base/error.hpp"
#include "ports/checkpoint/answer_store.hpp"
#include "ports/dataset/seed_sequence.hpp"
#include "ports/renderer/renderer.hpp"
#include "ports/training/training_client.hpp"

namespace pipestill {

enum class Method {
  off_policy,  ///< the teacher samples answers, the student learns them as hard targets
  on_policy,   ///< the student samples, the teacher scores what it said
  supervised,  ///< the dataset's own answers; no teacher
};
[[nodiscard]] std::string_view to_string(Method method);  ///< as a recipe writes it
enum class RowPolicy { fail, drop, keep };
enum class BadRowPolicy { fail, skip };
enum class LearningRateSchedule { constant, linear, cosine };

/// A recipe whose every key is known, typed, in range and given (defaults filled in). Field names are the keys of the file;
/// their meaning stands in the stages' and adapters' descriptions (`pipestill describe`).
struct Recipe {
  struct Teacher {
    std::string key = "teacher";          ///< of its section, for error texts: teacher, or dataset[1].teacher
    std::string client, teacher_model;    ///< the model's name or directory; empty where the client needs none
    std::string teacher_checkpoint_path;  ///< empty: none
    std::filesystem::path teacher_store = {};  ///< empty: none of its own
    Durability durability = Durability::process;
    int max_tokens = 256;
    double temperature = 1.0;
    int top_k = -1;
    double top_p = 1.0;
    std::size_t in_flight = 256;
    RowPolicy on_error = RowPolicy::fail, on_empty = RowPolicy::fail, on_truncated = RowPolicy::keep;
    boost::json::object section = {};  ///< whole, with the client's own keys
  };
  struct Rendering {
    std::string renderer;
    RendererOptions options = {};
  };
  struct Dataset {
    std::filesystem::path path;
    bool shuffle = true;
    std::optional<std::size_t> max_prompt_tokens;
    BadRowPolicy on_bad_row = BadRowPolicy::fail;
    std::string table, query;          ///< of a database; empty: none
    std::filesystem::path cache;       ///< empty: none
    std::string fingerprint;           ///< that the content must have; empty: any
    std::size_t groups_per_batch = 0;  ///< its rows in a batch
    std::optional<Teacher> teacher = std::nullopt;      ///< its own, in a mix; empty: the recipe's
    std::optional<Rendering> rendering = std::nullopt;  ///< its own, in a mix; empty: the student's
  };
  /// The teachers of a run.
  struct Teachers {
    std::vector<Teacher> opened;          ///< each once, in the order of the first dataset that asks it; none in supervised
    std::vector<std::size_t> of_dataset;  ///< which of them each dataset asks
  };
  struct Student {
    std::string client, model, tokenizer;
    Rendering rendering = {};  ///< of prompts, unless a dataset has its own, and of evaluations
  };
  struct Training {
    std::size_t batch_size = 64;
    std::size_t max_length = 2048;
    std::uint64_t epochs = 1;
    std::optional<std::uint64_t> max_steps;
    AdamParams adam;  ///< learning_rate is the peak
    LearningRateSchedule lr_schedule = LearningRateSchedule::constant;
    std::uint64_t warmup_steps = 0;
    double lr_min_ratio = 0;  ///< of the peak, at the end of the schedule
    Loss loss;
  };
  struct Engine {
    std::size_t depth = 4, threads = 0, staleness = 0;
    std::uint64_t depth_bytes = 0;              ///< 0: no limit
    std::chrono::nanoseconds stop_grace{};
    std::chrono::nanoseconds stall_timeout{};  ///< 0: none
  };
  struct Evaluation {
    std::filesystem::path path;
    std::uint64_t every = 0;  ///< batches; 0: only before and after
    std::vector<std::string> metrics;
    int max_tokens = 256;
    std::optional<std::size_t> limit;  ///< rows; empty: all
  };
  struct Checkpoint {
    std::uint64_t every = 200;  ///< batches; 0: only where the run is cut
    std::size_t keep_last = 3;
    std::uint64_t keep_every = 0;  ///< 0: none
  };
  struct TelemetryOptions {
    bool trace = false;
    std::uint64_t log_every = 100;  ///< batches between two lines of the log
  };

  Method method = Method::off_policy;
  BigSeed seed;
  Dataset dataset;             ///< the only one, or the first of a mix
  std::vector<Dataset> mixed;  ///< the others of a mix
  std::optional<Teacher> teacher;  ///< of the datasets without their own; not in supervised
  Student student;
  Training training;
  Engine engine;
  std::optional<Evaluation> evaluation;
  Checkpoint checkpoint;
  TelemetryOptions telemetry;

  boost::json::object resolved;  ///< all keys with their values, as `recipe.json` of a run directory; relative paths as they were written
  std::filesystem::path directory;  ///< that relative paths start from

  /// `path` made absolute: a relative one starts from `directory`.
  [[nodiscard]] std::filesystem::path locate(const std::filesystem::path& path) const;
  /// All datasets, the first one first. Their numbers in a row and in its seed are their places here.
  [[nodiscard]] std::vector<Dataset> datasets() const;
  [[nodiscard]] const Dataset& dataset_at(std::size_t number) const { return number == 0 ? dataset : mixed.at(number - 1); }
  /// How the rows of a dataset, by its number, are asked for and rendered: as it says itself, or as the recipe does. teacher_of: not in supervised.
  [[nodiscard]] const Teacher& teacher_of(std::size_t number) const { return dataset_at(number).teacher ? *dataset_at(number).teacher : *teacher; }
  [[nodiscard]] const Rendering& rendering_of(std::size_t number) const { return dataset_at(number).rendering ? *dataset_at(number).rendering : student.rendering; }
  /// Datasets whose teachers are one model, with the same client, checkpoint and client's keys, ask one session, each with its own sampling
  /// and policies.
  [[nodiscard]] Teachers teachers() const;
  /// SHA-256, in hexadecimal, over what determines the result: every key but engine.depth, engine.depth_bytes, engine.threads,
  /// engine.stop_grace, engine.stall_timeout and other timeouts, in_flight, evaluation, checkpoint, telemetry, paths (dataset.path, dataset.cache,
  /// teacher.teacher_model, teacher.teacher_checkpoint_path, student.model, and student.tokenizer unless it names a built-in one) and dataset.fingerprint: what
  /// lies there is told apart by its content, not its place.
  [[nodiscard]] std::string identity() const;
  /// What identity() is made of: keys, each with its value as JSON. Of a mix, the number of the dataset stands behind the key: dataset.shuffle[1].
  [[nodiscard]] std::map<std::string, std::string> identity_keys() const;
};

/// `--set key.path=value`: value is JSON where it parses as (strict) JSON, else a string. A whole number of more than 64 bits is a string
/// too.
struct Override {
  std::string key, value;
};
[[nodiscard]] Result<Override> parse_override(std::string_view text);

/// Reads, overrides (in order; a later one wins) and checks. Every error is one sentence with file, line and column or key path, the value,
/// and what would be accepted; an unknown key comes with the nearest known one. Opens no file but the recipe.
[[nodiscard]] Result<Recipe> read_recipe(const std::filesystem::path& file, std::span<const Override> overrides);
[[nodiscard]] Result<Recipe> parse_recipe(std::string_view text, const std::string& name, const std::filesystem::path& directory,
                                          std::span<const Override> overrides);

/// The keys that a recipe with this method and these clients may have: those of its stages, of its adapters, and of the run itself, with
/// whole paths and in the order of a resolved recipe. What an adapter says of a key goes before what a stage says of it.
[[nodiscard]] std::vector<KeyInfo> recipe_keys(Method method, std::string_view teacher_client, std::string_view student_client);

}  // namespace pipestill
