#include "nodes/describe.hpp"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "ports/renderer/renderer.hpp"

namespace pipestill {
namespace {

using Type = KeyInfo::Type;

constexpr double kMostTokens = 1'000'000;  // fits an int with room; no model reads that many

/// By name, and not from the factories: a build without the embedded models reads their recipes too, and says so when it should run one.
std::vector<std::string> client_names() { return {"simulated", "torch"}; }

std::vector<std::string> names_of(const std::vector<Description>& descriptions) {
  std::vector<std::string> names;
  std::ranges::transform(descriptions, std::back_inserter(names), &Description::name);
  return names;
}

/// Of the section `section`, student or dataset.
std::vector<KeyInfo> renderer_options(const std::string& section, const std::string& null_means) {
  const auto key = [&](const char* name, Type type, const std::string& help) {
    return KeyInfo{.name = section + ".renderer_options." + name, .type = type, .default_value = "null", .help = help, .is_nullable = true};
  };
  const auto null = [&](const char* of_renderer) { return "; null: " + (null_means.empty() ? of_renderer : null_means); };
  return {key("strip_thinking_from_history", Type::boolean,
              "whether thinking in earlier answers is left out" + null("as the renderer does (the option is qwen3's, deepseekv3's and kimi_k2's)")),
          key("system_role_as_user", Type::boolean, "whether deepseekv3 writes system messages behind the first as the user's" + null("they are refused")),
          key("current_date", Type::string,
              "YYYY-MM-DD, the date in the system message of gpt_oss_*_reasoning" + null("none, and they need it: the day of the run would change its bytes"))};
}

KeyInfo row_policy(std::string name, std::string default_value, std::string help, std::vector<std::string> choices) {
  return {.name = std::move(name),
          .type = Type::string,
          .default_value = std::move(default_value),
          .help = std::move(help),
          .choices = std::move(choices)};
}

}  // namespace

Description describe_init_teacher() {
  return {.name = "init_teacher",
          .summary = "opens the teacher before the first batch and closes it after the last",
          .keys = {{.name = "teacher.client",
                    .type = Type::string,
                    .help = "which backend answers for the teacher",
                    .is_required = true,
                    .choices = client_names()},
                   {.name = "teacher.teacher_model",
                    .type = Type::string,
                    .default_value = R"("")",
                    .help = "the teacher: a name, or a directory in the Hugging Face layout"},
                   {.name = "teacher.teacher_checkpoint_path",
                    .type = Type::string,
                    .default_value = "null",
                    .help = "weights that replace the model's own; null: none",
                    .is_nullable = true},
                   {.name = "teacher.teacher_store",
                    .type = Type::string,
                    .default_value = "null",
                    .help = "a file that keeps every answer before it is used and answers what was asked before, also in other runs; null: none for a model that repeats "
                            "itself, else answers.sqlite in the run directory",
                    .is_nullable = true},
                   {.name = "teacher.durability",
                    .type = Type::string,
                    .default_value = R"("process")",
                    .help = "what a kept answer outlives: process, its end in whatever way; power, that of the machine too",
                    .choices = {"process", "power"}}}};
}

Description describe_batch_source() {
  Description source{.name = "batch_source",
                     .summary = "reads the dataset in a fixed order and cuts it into batches",
                     .keys = {{.name = "dataset.path",
                               .type = Type::string,
                               .help = "the rows: one JSON object a line (*.jsonl, *.jsonl.gz, *.jsonl.zst), or a database (*.sqlite, *.db)",
                               .is_required = true},
                              {.name = "dataset.table",
                               .type = Type::string,
                               .default_value = "null",
                               .help = "of a database: the table whose rows are read, by rowid; null: a query is",
                               .is_nullable = true},
                              {.name = "dataset.query",
                               .type = Type::string,
                               .default_value = "null",
                               .help = "of a database: a SELECT with an ORDER BY; its columns are the rows' keys, and text in a column messages is JSON",
                               .is_nullable = true},
                              {.name = "dataset.cache",
                               .type = Type::string,
                               .default_value = "null",
                               .help = "a directory that keeps the places of the rows, and what was decompressed, for the next run; null: nothing is kept",
                               .is_nullable = true},
                              {.name = "dataset.fingerprint",
                               .type = Type::string,
                               .default_value = "null",
                               .help = "SHA-256 of the lines that the dataset must have, as the recipe.json of a run has it; null: any",
                               .is_nullable = true},
                              {.name = "dataset.groups_per_batch",
                               .type = Type::integer,
                               .default_value = "null",
                               .help = "where dataset is a list: rows of this one in a batch, all together training.batch_size; the first one's epochs are the run's",
                               .is_nullable = true,
                               .minimum = 1,
                               .maximum = 65536},
                              {.name = "dataset.teacher",
                               .type = Type::section,
                               .default_value = "null",
                               .help = "where dataset is a list: keys of the section teacher that are others for this one's rows; null: none",
                               .is_nullable = true},
                              {.name = "dataset.renderer",
                               .type = Type::string,
                               .default_value = "null",
                               .help = "where dataset is a list: how this one's conversations become tokens; null: student.renderer",
                               .is_nullable = true,
                               .choices = names_of(Renderer::describe_all())},
                              {.name = "dataset.shuffle",
                               .type = Type::boolean,
                               .default_value = "true",
                               .help = "a new order every epoch, drawn from the seed; false: the file's order"},
                              {.name = "dataset.max_prompt_tokens",
                               .type = Type::integer,
                               .default_value = "null",
                               .help = "the last user message keeps at most this many of its tokens; null: all",
                               .is_nullable = true,
                               .minimum = 1},
                              row_policy("dataset.on_bad_row", R"("fail")", "a row that gives no prompt (supervised: no target), or one that the renderer cannot write, ends the run, or is skipped: it keeps its place in its batch, which trains on one row less, and is counted as dropped.bad",
                                         {"fail", "skip"}),
                              {.name = "training.batch_size",
                               .type = Type::integer,
                               .default_value = "64",
                               .help = "rows in a batch; an epoch's last one may be short",
                               .minimum = 1,
                               .maximum = 65536},
                              {.name = "training.epochs",
                               .type = Type::integer,
                               .default_value = "1",
                               .help = "passes through the dataset; the run ends with them or with max_steps, whichever comes first",
                               .minimum = 1},
                              {.name = "training.max_steps",
                               .type = Type::integer,
                               .default_value = "null",
                               .help = "batches after which the run ends; null: the epochs alone decide",
                               .is_nullable = true,
                               .minimum = 1}}};
  const auto group = std::ranges::find(source.keys, "dataset.renderer", &KeyInfo::name);
  const auto options = renderer_options("dataset", "the student's, where the renderer is the same");
  source.keys.insert(std::next(group), options.begin(), options.end());
  return source;
}

Description describe_student_inference() {
  return {.name = "student_inference",
          .summary = "lets the student answer the prompts, with max_tokens, temperature, top_k and top_p of the section teacher"};
}

Description describe_teacher_inference() {
  return {
      .name = "teacher_inference",
      .summary = "renders the prompts and lets the teacher answer them, one request a row; on_policy: lets it score the student's answers",
      .keys = {{.name = "teacher.max_tokens",
                .type = Type::integer,
                .default_value = "256",
                .help = "tokens after which an answer is cut off",
                .minimum = 1,
                .maximum = kMostTokens},
               {.name = "teacher.temperature",
                .type = Type::number,
                .default_value = "1.0",
                .help = "divides the logits before sampling; 0: always the most probable token",
                .minimum = 0,
                .maximum = 100},
               {.name = "teacher.top_k",
                .type = Type::integer,
                .default_value = "-1",
                .help = "samples from this many most probable tokens; -1: from all",
                .minimum = -1,
                .maximum = kMostTokens},
               {.name = "teacher.top_p",
                .type = Type::number,
                .default_value = "1.0",
                .help = "samples from the most probable tokens that together have this probability; above 0, at most 1",
                .maximum = 1},
               {.name = "teacher.in_flight",
                .type = Type::integer,
                .default_value = "256",
                .help = "requests that the teacher has at a time; changes no result",
                .minimum = 1,
                .maximum = 65536},
               row_policy("teacher.on_error", R"("fail")", "what becomes of a row whose request failed", {"fail", "drop"}),
               row_policy("teacher.on_empty", R"("fail")", "what becomes of a row with an empty answer", {"fail", "drop"}),
               row_policy("teacher.on_truncated", R"("keep")", "what becomes of a row whose answer was cut off at max_tokens",
                          {"fail", "drop", "keep"})}};
}

Description describe_datum_builder() {
  return {.name = "datum_builder",
          .summary = "turns prompts and answers into training examples with a weight a token",
          .keys = {{.name = "training.max_length",
                    .type = Type::integer,
                    .default_value = "2048",
                    .help = "tokens of prompt and answer together; the rest is cut off at the right",
                    .minimum = 2,
                    .maximum = kMostTokens}}};
}

Description describe_forward_backward(Method method) {
  const bool is_on_policy = method == Method::on_policy;
  return {
      .name = "forward_backward",
      .summary = "trains the student on a batch: gradient, then one optimizer step (AdamW)",
      .keys = {{.name = "training.learning_rate", .type = Type::number, .default_value = "1e-4", .help = "the schedule's peak, above 0"},
               {.name = "training.lr_schedule",
                .type = Type::string,
                .default_value = R"("constant")",
                .help = "the learning rate's course after warm-up, to the end of the run",
                .choices = {"constant", "linear", "cosine"}},
               {.name = "training.warmup_steps",
                .type = Type::integer,
                .default_value = "0",
                .help = "batches over which the learning rate rises to its peak",
                .minimum = 0},
               {.name = "training.lr_min_ratio",
                .type = Type::number,
                .default_value = "0",
                .help = "the learning rate at the end, as a fraction of the peak",
                .minimum = 0,
                .maximum = 1},
               {.name = "training.weight_decay",
                .type = Type::number,
                .default_value = "0",
                .help = "decoupled decay a step, times the learning rate",
                .minimum = 0},
               {.name = "training.adam_beta1",
                .type = Type::number,
                .default_value = "0.9",
                .help = "decay of the gradient's average, below 1",
                .minimum = 0},
               {.name = "training.adam_beta2",
                .type = Type::number,
                .default_value = "0.95",
                .help = "decay of the squared gradient's average, below 1",
                .minimum = 0},
               {.name = "training.adam_eps",
                .type = Type::number,
                .default_value = "1e-8",
                .help = "added to the root of the squared gradient's average, above 0"},
               {.name = "training.grad_clip_norm",
                .type = Type::number,
                .default_value = "0",
                .help = "the gradient's largest global norm; 0: no clipping",
                .minimum = 0},
               {.name = "training.loss",
                .type = Type::string,
                .default_value = is_on_policy ? R"("importance_sampling")" : R"("cross_entropy")",
                .help = "what is minimised: importance_sampling on_policy, else cross_entropy",
                .choices = {"cross_entropy", "importance_sampling"}},
               {.name = "training.normalization",
                .type = Type::string,
                .default_value = R"("token_mean")",
                .help = "how token losses become one number",
                .choices = {"token_mean", "seq_mean", "sum"}},
               {.name = "training.micro_batch_rows",
                .type = Type::integer,
                .default_value = "0",
                .help = "rows whose gradient is computed at a time, which bounds the memory and changes the rounding; 0: all",
                .minimum = 0,
                .maximum = 65536}}};
}

Description describe_evaluation() {
  return {
      .name = "evaluation",
      .summary = "measures the student on held-out rows; it changes no weight. The whole section may be left out",
      .keys = {
          {.name = "evaluation.path", .type = Type::string, .help = "the held-out rows, each with a reference answer", .is_required = true},
          {.name = "evaluation.every",
           .type = Type::integer,
           .default_value = "0",
           .help = "batches between two evaluations; 0: only before and after the run",
           .minimum = 0},
          {.name = "evaluation.metrics",
           .type = Type::string_list,
           .default_value = R"(["exact_match"])",
           .help = "what is measured",
           .choices = {"exact_match"}},
          {.name = "evaluation.max_tokens",
           .type = Type::integer,
           .default_value = "null",
           .help = "tokens after which the student's answer is cut off; null: teacher.max_tokens, or 256 without a teacher",
           .is_nullable = true,
           .minimum = 1,
           .maximum = kMostTokens},
          {.name = "evaluation.limit",
           .type = Type::integer,
           .default_value = "null",
           .help = "rows of the file that are used, from its beginning; null: all",
           .is_nullable = true,
           .minimum = 1}}};
}

Description describe_checkpoint() {
  return {.name = "checkpoint",
          .summary = "saves the student beside the training, so that a run that was killed can go on; it changes no weight",
          .keys = {{.name = "checkpoint.every",
                    .type = Type::integer,
                    .default_value = "200",
                    .help = "batches between two checkpoints; 0: only where a run is stopped or fails",
                    .minimum = 0},
                   {.name = "checkpoint.keep_last", .type = Type::integer, .default_value = "3", .help = "checkpoints that stay, the newest ones", .minimum = 1, .maximum = 1 << 20},
                   {.name = "checkpoint.keep_every",
                    .type = Type::integer,
                    .default_value = "0",
                    .help = "beside them, those whose batch is a multiple of this stay for good; 0: none",
                    .minimum = 0}}};
}

Description describe_metrics_sink() { return {.name = "metrics_sink", .summary = "writes each batch into ledger and metrics, and retires it"}; }

std::vector<Description> describe_stages(Method method) {
  std::vector<Description> stages;
  const bool has_teacher = method != Method::supervised;
  if (has_teacher) stages.push_back(describe_init_teacher());
  stages.push_back(describe_batch_source());
  if (method == Method::on_policy) stages.push_back(describe_student_inference());
  if (has_teacher) stages.push_back(describe_teacher_inference());
  stages.push_back(describe_datum_builder());
  stages.push_back(describe_forward_backward(method));
  stages.push_back(describe_evaluation());
  stages.push_back(describe_checkpoint());
  stages.push_back(describe_metrics_sink());
  return stages;
}

Description describe_run() {
  return {
      .name = "run",
      .summary = "the run as a whole: its method, its seed, its engine",
      .keys = {{.name = "method",
                .type = Type::string,
                .help = "off_policy: the teacher answers, the student learns it; on_policy: the student answers, the teacher scores it; "
                        "supervised: the dataset's own answers, no teacher",
                .is_required = true,
                .choices = {"off_policy", "on_policy", "supervised"}},
               {.name = "seed",
                .type = Type::integer,
                .default_value = "0",
                .help = "where every random draw starts from; beyond 64 bits, a string of decimal digits",
                .minimum = 0},
               {.name = "engine.depth",
                .type = Type::integer,
                .default_value = "4",
                .help = "batches under way at a time; changes no result",
                .minimum = 1,
                .maximum = 1024},
               {.name = "engine.depth_bytes",
                .type = Type::integer,
                .default_value = "0",
                .help = "bytes that batches under way may come to, by the worst case of their prompts and max_tokens; the oldest is always let in; 0: no limit; "
                        "changes no result",
                .minimum = 0},
               {.name = "engine.threads",
                .type = Type::integer,
                .default_value = "0",
                .help = "worker threads of the engine; 0: one a core; changes no result",
                .minimum = 0,
                .maximum = 1024},
               {.name = "engine.staleness",
                .type = Type::integer,
                .default_value = "0",
                .help = "on_policy: how many batches behind the student that answers may be",
                .minimum = 0,
                .maximum = 64},
               {.name = "engine.stop_grace",
                .type = Type::number,
                .default_value = "5",
                .help = "seconds that batches under way get to finish when the run is stopped",
                .minimum = 0,
                .maximum = 86400},
               {.name = "engine.stall_timeout",
                .type = Type::number,
                .default_value = "0",
                .help = "seconds after which a run in which nothing moves fails; 0: it is reported every now and then, and goes on",
                .minimum = 0,
                .maximum = 86400},
               {.name = "telemetry.trace",
                .type = Type::boolean,
                .default_value = "false",
                .help = "writes trace.json, a span for every stage and batch"},
               {.name = "telemetry.log_every",
                .type = Type::integer,
                .default_value = "100",
                .help = "batches between two lines of the log",
                .minimum = 1}}};
}

Description describe_student() {
  Description student{.name = "student",
                      .summary = "the model that learns",
                      .keys = {{.name = "student.client",
                                .type = Type::string,
                                .help = "which backend trains the student",
                                .is_required = true,
                                .choices = client_names()},
                               {.name = "student.model",
                                .type = Type::string,
                                .default_value = R"("")",
                                .help = "the student: a configuration alone (random weights), or a directory in the Hugging Face layout"},
                               {.name = "student.tokenizer",
                                .type = Type::string,
                                .default_value = R"("bytes")",
                                .help = "bytes, or the directory of a vocabulary; the teacher's tokens are read with it too"},
                               {.name = "student.renderer",
                                .type = Type::string,
                                .default_value = R"("role_colon")",
                                .help = "how a conversation becomes tokens",
                                .choices = names_of(Renderer::describe_all())}}};
  for (auto& key : renderer_options("student", "")) student.keys.push_back(std::move(key));
  return student;
}

}  // namespace pipestill
