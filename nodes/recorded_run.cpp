#include "nodes/recorded_run.hpp"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <iterator>
#include <mutex>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "nodes/ledger_columns.hpp"
#include "nodes/run_directory.hpp"
#include "nodes/run_identity.hpp"
#include "ports/checkpoint/answer_store.hpp"
#include "ports/durable_file.hpp"
#include "ports/fault_point.hpp"
#include "ports/sampling/stored_sampling_client.hpp"
#include "ports/strict_json.hpp"
#include "ports/telemetry/chrome_trace.hpp"
#include "ports/telemetry/jsonl_telemetry.hpp"
#include "ports/telemetry/output_file.hpp"
#include "ports/telemetry/telemetry_fanout.hpp"
#include "ports/text_file.hpp"

namespace json = boost::json;

namespace pipestill {
namespace {

constexpr const char* kReplayed = "replayed";  // the fact in identity.json

const char* name_of(EvaluationRecord::When when) {
  switch (when) {
    case EvaluationRecord::When::before: return "before";
    case EvaluationRecord::When::during: return "during";
    case EvaluationRecord::When::after: return "after";
  }
  return "?";
}

std::optional<EvaluationRecord::When> when_of(std::string_view name) {
  for (const auto when : {EvaluationRecord::When::before, EvaluationRecord::When::during, EvaluationRecord::When::after}) {
    if (name == name_of(when)) return when;
  }
  return std::nullopt;
}

std::string line_of(const EvaluationRecord& record) {
  json::object line{{"when", name_of(record.when)}, {"step", record.step}, {"rows", record.result.rows}};
  for (const auto& [name, value] : record.result.metrics) line[name] = value;
  return json::serialize(line) + "\n";
}

/// Empty: no line of ours, or half of one.
std::optional<EvaluationRecord> record_of(std::string_view line) {
  const auto parsed = parse_strict_json(line, "evaluations.jsonl");
  const auto* object = parsed ? parsed->if_object() : nullptr;
  const auto* when = object ? object->if_contains("when") : nullptr;
  const auto named = when && when->is_string() ? when_of(std::string_view(when->get_string())) : std::nullopt;
  if (!named) return std::nullopt;
  EvaluationRecord record{.when = *named, .step = 0, .result = {}};
  for (const auto& [name, value] : *object) {
    if (!value.is_number()) continue;
    boost::system::error_code inexact;
    if (name == "step") record.step = value.to_number<std::uint64_t>(inexact);
    else if (name == "rows") record.result.rows = value.to_number<std::uint64_t>(inexact);
    else record.result.metrics[std::string(name)] = value.to_number<double>(inexact);
    if (inexact) return std::nullopt;
  }
  return record;
}

/// Keeps what was measured of the student before it met the batches from `cursor` on; that is returned.
Result<std::vector<EvaluationRecord>> cut_evaluations(const std::filesystem::path& file, std::uint64_t cursor) {
  std::vector<EvaluationRecord> kept;
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return kept;
  const auto text = read_text_file(file);
  if (!text) return fail(text.error());
  std::string lines;
  for (std::size_t begin = 0; begin < text->size();) {
    const auto end = std::min(text->find('\n', begin), text->size());
    auto record = record_of(std::string_view(*text).substr(begin, end - begin));
    begin = end + 1;
    if (!record || record->step > cursor || record->when == EvaluationRecord::When::after) continue;
    lines += line_of(*record);
    kept.push_back(*std::move(record));
  }
  if (auto written = write_file_atomically(file, lines); !written) return fail(std::move(written.error()));
  return kept;
}

/// The files that grow during the run.
class RunFiles {
 public:
  static Result<std::unique_ptr<RunFiles>> open(const RunDirectory& directory, const std::shared_ptr<Clock>& clock, OutputFile::Mode mode, bool has_trace, bool has_evaluations) {
    auto metrics = JsonlTelemetry::open(directory.metrics(), mode);
    if (!metrics) return fail(std::move(metrics.error()));
    auto files = std::unique_ptr<RunFiles>(new RunFiles(*std::move(metrics)));
    if (has_trace) {
      auto trace = ChromeTrace::open(directory.trace(), clock);
      if (!trace) return fail(std::move(trace.error()));
      files->trace_ = *std::move(trace);
    }
    if (has_evaluations) {
      auto evaluations = OutputFile::open(directory.evaluations(), mode);
      if (!evaluations) return fail(std::move(evaluations.error()));
      files->evaluations_.emplace(*std::move(evaluations));
    }
    return files;
  }

  [[nodiscard]] std::vector<std::shared_ptr<Telemetry>> sinks() const {
    std::vector<std::shared_ptr<Telemetry>> sinks{metrics_};
    if (trace_) sinks.push_back(trace_);
    return sinks;
  }
  void write(const EvaluationRecord& record) {
    std::lock_guard lock(mutex_);
    if (evaluations_) evaluations_->write(line_of(record));
  }
  [[nodiscard]] Result<void> close() {
    auto result = metrics_->close();
    if (trace_) {
      if (auto closed = trace_->close(); !closed && result) result = std::move(closed);
    }
    std::lock_guard lock(mutex_);
    if (evaluations_) {
      if (auto closed = evaluations_->close(); !closed && result) result = std::move(closed);
    }
    return result;
  }

 private:
  explicit RunFiles(std::unique_ptr<JsonlTelemetry> metrics) : metrics_(std::move(metrics)) {}
  std::shared_ptr<JsonlTelemetry> metrics_;
  std::shared_ptr<ChromeTrace> trace_;
  std::mutex mutex_;  // guards evaluations_
  std::optional<OutputFile> evaluations_;
};

/// So that the recipe of a run, run again, means the same data or nothing.
json::object with_fingerprints(json::object resolved, const RunPlan& plan) {
  auto& section = resolved["dataset"];
  for (std::size_t i = 0; i < plan.datasets.size(); ++i) {
    auto& one = section.is_array() ? section.get_array().at(i) : section;
    one.as_object()["fingerprint"] = plan.datasets[i].fingerprint;
  }
  return resolved;
}

void forget_fingerprints(json::value& recipe) {
  auto* section = recipe.is_object() ? recipe.get_object().if_contains("dataset") : nullptr;
  if (section && section->is_object()) section->get_object()["fingerprint"] = nullptr;
  if (!section || !section->is_array()) return;
  for (auto& one : section->get_array()) {
    if (one.is_object()) one.get_object()["fingerprint"] = nullptr;
  }
}

/// For what computed batches may come out otherwise now: it was changed on purpose. Only where the learning rate falls towards it does the run's end
/// matter to the batches before it.
std::vector<FactDifference> changes_of_results(IdentityFacts before, IdentityFacts now, const Recipe::Training& training) {
  if (training.lr_schedule == LearningRateSchedule::constant) {
    for (auto* facts : {&before, &now}) facts->erase("training.max_steps"), facts->erase("training.epochs");
  }
  return differences(before, now);
}

bool never_began(const RunSummary& summary, std::uint64_t first) {
  if (!summary.failure || summary.totals.steps != first) return false;
  return summary.failure->error.code == ErrorCode::invalid_input || summary.failure->error.code == ErrorCode::not_recorded;
}

Result<Recipe> recipe_of(const RunPart& part, const std::filesystem::path& identity_file, const std::filesystem::path& directory) {
  return parse_recipe(json::serialize(part.recipe), identity_file.string(), directory, {});
}

bool lies_in(const std::filesystem::path& file, const std::filesystem::path& directory) {
  std::error_code ignored;
  const auto inside = std::filesystem::weakly_canonical(file, ignored).lexically_relative(std::filesystem::weakly_canonical(std::filesystem::absolute(directory), ignored));
  return !inside.empty() && *inside.begin() != "..";
}

IdentityFacts data_of(IdentityFacts facts) {
  std::erase_if(facts, [](const auto& fact) { return !is_of_data(fact.first) && fact.first != kReplayed; });
  return facts;
}

/// One process's part of a run: its ports, its directory, and what it writes there.
class Recording {
 public:
  Recording(const Recipe& recipe, const RecordedRunOptions& options) : recipe_(recipe), options_(options), clock_(options.clock ? options.clock : std::make_shared<SystemClock>()) {}

  Result<void> prepare() {
    auto ports = make_ports(recipe_, clock_, nullptr, options_.on_dataset_progress, is_replay() ? Teachers::replaced : Teachers::asked);
    if (!ports) return fail(std::move(ports.error()));
    ports_ = *std::move(ports);
    if (!options_.replayed.empty()) {
      if (auto replaced = replay(); !replaced) return replaced;
    }
    auto plan = plan_run(recipe_, ports_);
    if (!plan) return fail(std::move(plan.error()));
    plan_ = *std::move(plan);
    if (options_.on_plan) options_.on_plan(plan_);
    return {};
  }

  /// Every teacher gives way to the answers that the other run recorded of it.
  Result<void> replay() {
    const auto file = options_.replayed / "identity.json";
    auto other = RunIdentity::read(file);
    if (!other) return fail(std::move(other.error()));
    if (other->parts.empty()) return fail(ErrorCode::invalid_input, options_.replayed.string() + " cannot be replayed: it had not begun when it ended");
    if (other->facts.contains(kReplayed)) return fail(ErrorCode::invalid_input, options_.replayed.string() + " is a replay itself, and keeps no answers: name the run that it replays");
    replayed_ = other->parts.front().name;
    if (auto repeated = recorded_as_one(*other, file); !repeated) return repeated;
    ports_.student_samples = [this, other = *other, file]() -> Result<std::shared_ptr<const StudentSampleStore>> {
      if (auto same = asked_as_recorded(other, file); !same) return fail(std::move(same.error()));
      auto store = AnswerStore::open_read_only(options_.replayed / "answers.sqlite");
      if (!store) return fail(ErrorCode::invalid_input, "the run cannot be replayed without its student's samples: " + store.error().message);
      return std::make_shared<const StudentSampleStore>(*std::move(store), other.names(), StudentSampleStore::Missing::refused);
    };
    const auto opened = recipe_.teachers().opened;
    for (std::size_t i = 0; i < opened.size(); ++i) {
      const auto recorded = other->facts.find(numbered_teacher(i));
      if (recorded == other->facts.end()) return fail(ErrorCode::invalid_input, file.string() + " does not say which " + numbered_teacher(i) + " the run asked");
      auto store = AnswerStore::open_read_only(opened[i].teacher_store.empty() ? options_.replayed / "answers.sqlite" : recipe_.locate(opened[i].teacher_store));
      if (!store) {
        return fail(ErrorCode::invalid_input, "the run cannot be replayed without its answers, which are kept where " + opened[i].key +
                                                  ".teacher_store says, or beside a run with a model that does not repeat itself: " + store.error().message);
      }
      auto& client = i == 0 ? ports_.teacher : ports_.more_teachers[i - 1];
      client = make_replaying_sampling_client(client, *std::move(store), {.model = recorded->second, .tokenizer = ports_.tokenizer->fingerprint()});
    }
    auto ledger = LedgerReader::open(options_.replayed / "run.sqlite");
    if (!ledger) return fail(std::move(ledger.error()));
    auto failed = failed_rows(*ledger);
    if (!failed) return fail(std::move(failed.error()));
    ports_.failed_rows = *std::move(failed);
    return {};
  }

  /// Whether one recipe makes that run again.
  Result<void> recorded_as_one(const RunIdentity& other, const std::filesystem::path& file) const {
    const auto parts = other.parts_with_batches();
    for (std::size_t i = 1; i < parts.size(); ++i) {
      const auto before = recipe_of(parts[i - 1], file, recipe_.directory), then = recipe_of(parts[i], file, recipe_.directory);
      if (!before || !then) return fail(before ? then.error() : before.error());
      auto changes = changes_of_results(before->identity_keys(), then->identity_keys(), then->training);
      for (auto& change : differences(parts[i - 1].data, parts[i].data)) changes.push_back(std::move(change));
      if (changes.empty()) continue;
      return fail(ErrorCode::invalid_input, fmt::format("{} cannot be replayed: at batch {} its {} was changed on purpose, from {} to {}, and a replay has one recipe", options_.replayed.string(), parts[i].from,
                                                        changes.front().name, changes.front().before, changes.front().now));
    }
    return {};
  }

  /// A student's samples are its own alone: another recipe's student would not have said them.
  Result<void> asked_as_recorded(const RunIdentity& other, const std::filesystem::path& file) const {
    const auto recorded = recipe_of(other.parts.back(), file, recipe_.directory);
    if (!recorded) return fail(recorded.error());
    auto changes = changes_of_results(recorded->identity_keys(), recipe_.identity_keys(), recipe_.training);
    auto data = data_of(identity_.facts);
    data.erase(kReplayed);
    for (auto& change : differences(other.parts.back().data, data)) changes.push_back(std::move(change));
    if (changes.empty()) return {};
    const auto& other_key = changes.front();
    return fail(ErrorCode::invalid_input, fmt::format("{} was recorded with {} {}, not {}: its student does not repeat itself, and another recipe's student would not have said what it said", options_.replayed.string(),
                                                      other_key.name, other_key.before, other_key.now));
  }

  /// What a model would not say twice is kept beside the run; and then what the other teachers say, too, so that it can be replayed.
  Result<void> keep_answers(const RunDirectory& directory) {
    if (is_replay()) return {};
    const auto opened = recipe_.teachers().opened;
    const auto client_of = [&](std::size_t i) -> std::shared_ptr<SamplingClient>& { return i == 0 ? ports_.teacher : ports_.more_teachers[i - 1]; };
    bool are_repeatable = recipe_.method != Method::on_policy || ports_.student->capabilities().has_repeatable_snapshots;
    for (std::size_t i = 0; i < opened.size(); ++i) are_repeatable = are_repeatable && (!opened[i].teacher_store.empty() || client_of(i)->capabilities().is_repeatable());
    if (are_repeatable) return {};
    auto store = AnswerStore::open(directory.answers(), strictest_durability(opened, [](const Recipe::Teacher&) { return true; }));
    if (!store) return fail(std::move(store.error()));
    for (std::size_t i = 0; i < opened.size(); ++i) {
      if (opened[i].teacher_store.empty()) client_of(i) = make_stored_sampling_client(client_of(i), *store, ports_.tokenizer->fingerprint());
    }
    ports_.student_samples = [this, store = *std::move(store)]() -> Result<std::shared_ptr<const StudentSampleStore>> {
      return std::make_shared<const StudentSampleStore>(store, identity_.names(), StudentSampleStore::Missing::asked);
    };
    return {};
  }

  Result<void> begin(const RunDirectory& directory) {
    if (auto written = directory.write_recipe(with_fingerprints(recipe_.resolved, plan_)); !written) return written;
    return begin_ledger(directory);
  }

  /// From where the run goes on: nothing in the directory has changed when this fails.
  Result<void> find_place(const RunDirectory& directory, std::span<const std::string> allowed) {
    allowed_ = allowed;
    auto identity = RunIdentity::read(directory.identity());
    if (!identity) return fail(std::move(identity.error()));
    identity_ = *std::move(identity);
    auto known = data_identity(recipe_, ports_, plan_);
    if (!known) return fail(std::move(known.error()));
    known->merge(machine_identity());
    if (is_replay() || identity_.facts.contains(kReplayed)) (*known)[kReplayed] = is_replay() ? replayed_ : "nothing";
    if (auto same = identity_.agrees_with(*known, allowed); !same) return same;
    CheckpointStore checkpoints(directory.checkpoints(), {});
    auto whole = has_whole_ledger(directory);
    if (!whole) return fail(std::move(whole.error()));
    has_ledger_ = *whole;
    auto entries = has_ledger_ ? count_entries(directory.ledger()) : Result<std::uint64_t>(0);
    if (!entries) return fail(std::move(entries.error()));
    if (*entries > 0 && identity_.facts.empty()) {
      return fail(ErrorCode::invalid_input, directory.identity().string() + " is not there, or says nothing: with which machine, libraries and data the run began is not known; put it back");
    }
    place_ = checkpoints.newest(*entries, [&](const Error& error) { notice(error.message); });
    if (place_ && place_->facts.step > plan_.total_steps) {
      return fail(ErrorCode::invalid_input, fmt::format("the run would end after {} batches, and its checkpoint {} is behind {} already", plan_.total_steps,
                                                        place_->student.parent_path().string(), place_->facts.step));
    }
    return place_ ? check_versions(recipe_, *place_) : Result<void>();
  }

  /// The recipe was changed on purpose: perhaps in what batches depend on.
  void take_change(std::vector<std::string> reasons, bool is_other) {
    is_changed_ = !reasons.empty();
    is_other_ = is_other;
    identity_.reasons.insert(identity_.reasons.end(), std::make_move_iterator(reasons.begin()), std::make_move_iterator(reasons.end()));
  }

  /// Cuts everything back to that place.
  Result<void> go_on(const RunDirectory& directory) {
    const std::uint64_t cursor = first_step();
    goes_on_ = true;
    was_cut_ = !identity_.facts.empty();
    const auto names = identity_.names();
    if (!names.empty() && std::prev(names.upper_bound(cursor))->second != names.rbegin()->second) is_other_ = true;  // what the ledger has from there on was another part's
    fault_point("resume.before_cut");
    if (!has_ledger_) {  // killed before the ledger was whole
      std::error_code ignored;
      for (const char* name : {"run.sqlite", "run.sqlite-wal", "run.sqlite-shm", "run.sqlite-journal"}) std::filesystem::remove(directory.path() / name, ignored);
      if (auto begun = begin_ledger(directory); !begun) return begun;
    } else {
      auto ledger = Ledger::open(directory.ledger(), cursor);
      if (!ledger) return fail(std::move(ledger.error()));
      ports_.ledger = *std::move(ledger);
    }
    if (std::ranges::find(allowed_, kLedgerKey) != allowed_.end() && ports_.ledger->expectations() > 0) {
      is_other_ = true;
      identity_.reasons.push_back(fmt::format("resumed at batch {} without comparing the {} batches that the ledger had behind it", cursor, ports_.ledger->expectations()));
    }
    if (place_ && to_hex(ports_.ledger->digest()) != place_->facts.ledger_digest) {
      return fail(ErrorCode::invalid_input, place_->student.parent_path().string() + " and " + directory.ledger().string() + " are not of one run: their digests at step " +
                                                std::to_string(cursor) + " differ");
    }
    if (auto aside = CheckpointStore(directory.checkpoints(), {}).set_aside_behind(cursor); !aside) return aside;
    if (auto removed = directory.remove_summary(); !removed) return removed;
    if (auto rewritten = rewrite_metrics(*ports_.ledger, directory.metrics()); !rewritten) return rewritten;
    auto evaluations = cut_evaluations(directory.evaluations(), cursor);
    if (!evaluations) return fail(std::move(evaluations.error()));
    fault_point("resume.after_cut");
    const auto again = fmt::format("{} batches that the ledger has {}are computed {}", ports_.ledger->expectations(), place_ ? "behind it " : "",
                                   is_other_ ? "anew, and not compared: what was changed may have changed them" : "again and compared");
    notice(place_ ? fmt::format("goes on at batch {} of {}; {}", cursor, plan_.total_steps, again) : "begins again: there is no checkpoint; " + again);
    if (!place_) return truncate(directory.evaluations());  // the student is measured before its first batch once more
    auto totals = recorded_totals(*ports_.ledger);
    if (!totals) return fail(std::move(totals.error()));
    resume_ = ResumePoint{*std::move(place_), *std::move(totals)};
    const auto before = std::ranges::find(*evaluations, EvaluationRecord::When::before, &EvaluationRecord::when);
    if (before != evaluations->end()) eval_before_ = before->result;
    return {};
  }

  /// An error of the user's, before the first step, is an Error; all else is in the summary.
  Result<RunSummary> run(const RunDirectory& directory) {
    if (auto kept = keep_answers(directory); !kept) return fail(std::move(kept.error()));
    auto files = RunFiles::open(directory, clock_, OutputFile::Mode::append, recipe_.telemetry.trace, recipe_.evaluation.has_value());
    if (!files) return fail(std::move(files.error()));
    auto sinks = (*files)->sinks();
    if (options_.telemetry) sinks.push_back(options_.telemetry);
    ports_.telemetry = std::make_shared<TelemetryFanout>(std::move(sinks));

    auto distillation = options_.distillation;
    distillation.model_directory = directory.model();
    distillation.checkpoints.emplace(directory.checkpoints(), CheckpointRetention{recipe_.checkpoint.keep_last, recipe_.checkpoint.keep_every});
    distillation.resume = resume_;
    distillation.check_identity = [&](const IdentityFacts& facts) -> Result<void> {
      auto now = facts;
      if (is_replay()) now[kReplayed] = replayed_;
      const bool is_other_machine = !identity_.facts.empty() && identity_.facts != now;
      if (auto same = identity_.take_over(now, allowed_); !same) return same;
      if (is_other_machine && !is_other_) notice("the batches that the ledger has behind it are not compared after all: what was changed may have changed them");
      const bool is_other = is_other_ || is_other_machine;
      // First, and durably: the change is no change any more when it is written down.
      if (const auto end = is_other ? ports_.ledger->next_step() : plan_.total_steps; end < ports_.ledger->next_step() + ports_.ledger->expectations()) {
        if (auto dropped = ports_.ledger->drop_expectations(end).and_then([&] { return ports_.ledger->sync(); }); !dropped) return dropped;
      }
      if (goes_on_) {
        if (auto moved = ports_.ledger->set_origin(origin()); !moved) return moved;
      }
      take_part(is_other);
      if (auto written = identity_.write(directory.identity()); !written) return written;
      fault_point("run.before_recipe");
      return directory.write_recipe(identity_.parts.back().recipe);  // of a run that goes on: with what was allowed to change
    };
    distillation.on_evaluation = [&, next = options_.distillation.on_evaluation](const EvaluationRecord& record) {
      (*files)->write(record);
      if (next) next(record);
    };
    auto summary = distil(recipe_, ports_, distillation);
    if (never_began(summary, first_step())) return fail(std::move(summary.failure->error));
    if (eval_before_) summary.eval_before = eval_before_;
    const auto settle = [&summary](Result<void> done) {
      if (done || summary.failure) return;
      summary.status = RunSummary::Status::failed;
      summary.failure = RunSummary::Failure{"run_directory", std::nullopt, std::move(done.error())};
    };
    if (was_cut_ && !summary.nondeterminism.empty()) settle(add_reason(directory, "resumed: an answer that was under way when the run was cut was asked for again, and may have been another"));
    summary.nondeterminism.insert(summary.nondeterminism.end(), identity_.reasons.begin(), identity_.reasons.end());
    settle((*files)->close());
    settle(ports_.ledger->close());
    settle(directory.write_summary(summary.to_json()));
    return summary;
  }

  /// The ledger's file is let go of.
  void forget() { ports_.ledger.reset(); }

 private:
  /// identity.json says from now on by which recipe the batches from here on are computed.
  void take_part(bool is_other) {
    auto recipe = with_fingerprints(recipe_.resolved, plan_);
    auto& parts = identity_.parts;
    identity_.cut_back(first_step());
    if (parts.empty() || is_other || is_changed_) {
      auto name = parts.empty() || is_other ? RunIdentity::fresh_name() : parts.back().name;
      parts.push_back({first_step(), std::move(name), std::move(recipe), data_of(identity_.facts)});
    } else {
      parts.back().recipe = std::move(recipe);
    }
  }

  [[nodiscard]] LedgerOrigin origin() const { return {.recipe_directory = std::filesystem::absolute(recipe_.directory)}; }
  [[nodiscard]] std::uint64_t first_step() const { return resume_ ? resume_->checkpoint.facts.step : place_ ? place_->facts.step : 0; }

  Result<void> begin_ledger(const RunDirectory& directory) {
    auto ledger = Ledger::create(directory.ledger(), origin());
    if (!ledger) return fail(std::move(ledger.error()));
    ports_.ledger = *std::move(ledger);
    if (auto synced = ports_.ledger->sync(); !synced) return synced;
    return truncate(directory.metrics());  // says that the ledger is whole
  }

  static Result<void> truncate(const std::filesystem::path& file) { return OutputFile::open(file, OutputFile::Mode::truncate).and_then([](OutputFile opened) { return opened.close(); }); }

  /// metrics.jsonl says so; where somebody has taken that away, the ledger itself does. One without a batch may as well be made anew.
  static Result<bool> has_whole_ledger(const RunDirectory& directory) {
    std::error_code ignored;
    if (std::filesystem::exists(directory.metrics(), ignored)) return true;
    if (!std::filesystem::exists(directory.ledger(), ignored)) return false;
    auto reader = LedgerReader::open(directory.ledger());
    const auto first = reader ? reader->next() : fail(reader.error());
    if (first) return first->has_value();
    if (CheckpointStore(directory.checkpoints(), {}).steps().empty()) return false;  // killed while it was made
    return fail(first.error());
  }

  static Result<std::uint64_t> count_entries(const std::filesystem::path& file) {
    auto reader = LedgerReader::open(file);
    if (!reader) return fail(std::move(reader.error()));
    for (std::uint64_t count = 0;; ++count) {
      auto record = reader->next();
      if (!record) return fail(std::move(record.error()));
      if (!*record) return count;
    }
  }

  void notice(const std::string& text) const {
    if (options_.on_notice) options_.on_notice(text);
  }

  Result<void> add_reason(const RunDirectory& directory, const std::string& reason) {
    if (std::ranges::find(identity_.reasons, reason) != identity_.reasons.end()) return {};
    identity_.reasons.push_back(reason);
    return identity_.write(directory.identity());
  }

  static constexpr const char* kLedgerKey = "ledger";    // of --allow-changed
  [[nodiscard]] bool is_replay() const { return !options_.replayed.empty(); }

  const Recipe& recipe_;
  const RecordedRunOptions& options_;
  const std::shared_ptr<Clock> clock_;
  DistillationPorts ports_;
  RunPlan plan_;
  RunIdentity identity_;
  std::string replayed_;  // the name of the run whose answers are the only ones; empty: none is replayed
  std::span<const std::string> allowed_;
  bool has_ledger_ = false;
  bool is_changed_ = false;  // the recipe is another
  bool is_other_ = false;    // and so are its batches
  bool goes_on_ = false;     // in a directory that was there
  bool was_cut_ = false;     // another process has begun the run
  std::optional<SavedCheckpoint> place_;
  std::optional<ResumePoint> resume_;
  std::optional<EvaluationResult> eval_before_;
};

}  // namespace

Result<RunSummary> record_run(const Recipe& recipe, const RecordedRunOptions& options) {
  for (const auto& dataset : recipe.datasets()) {
    if (dataset.cache.empty() || !lies_in(recipe.locate(dataset.cache), options.directory)) continue;
    return fail(ErrorCode::invalid_input, "dataset.cache: " + recipe.locate(dataset.cache).string() + " lies in the run directory, which must be empty when a run begins: name another directory");
  }
  for (const auto& teacher : recipe.teachers().opened) {
    if (teacher.teacher_store.empty() || !lies_in(recipe.locate(teacher.teacher_store), options.directory)) continue;
    return fail(ErrorCode::invalid_input, teacher.key + ".teacher_store: " + recipe.locate(teacher.teacher_store).string() + " lies in the run directory, which must be empty when a run begins: name another file");
  }
  Recording recording(recipe, options);
  if (auto prepared = recording.prepare(); !prepared) return fail(std::move(prepared.error()));
  auto directory = RunDirectory::create(options.directory);
  if (!directory) return fail(std::move(directory.error()));
  const auto refuse = [&](Error error) {
    recording.forget();
    directory->discard();
    return fail(std::move(error));
  };
  if (auto begun = recording.begin(*directory); !begun) return refuse(std::move(begun.error()));
  auto summary = recording.run(*directory);
  if (!summary) return refuse(std::move(summary.error()));
  return summary;
}

namespace {

/// What the run was computed by until now: as identity.json says, or recipe.json where it had not begun.
Result<Recipe> computed_recipe(const RunIdentity& identity, const RunDirectory& directory, const std::filesystem::path& paths_from) {
  if (!identity.parts.empty()) return recipe_of(identity.parts.back(), directory.identity(), paths_from);
  return read_text_file(directory.recipe(), kMaxJsonBytes).and_then([&](const std::string& text) { return parse_recipe(text, directory.recipe().string(), paths_from, {}); });
}

/// recipe.json is that of a part before the last: the run was killed after identity.json was written, and before it was.
bool is_left_behind(const json::value& recipe, const RunIdentity& identity, const std::filesystem::path& file) {
  const auto keys_of = [&](const json::value& of) { return parse_recipe(json::serialize(of), file.string(), file.parent_path(), {}).map([](const Recipe& parsed) { return parsed.identity_keys(); }); };
  if (identity.parts.empty() || recipe == identity.parts.back().recipe) return false;
  const auto found = keys_of(recipe), last = keys_of(identity.parts.back().recipe);
  if (!found || !last) return false;
  return std::any_of(identity.parts.begin(), identity.parts.end() - 1, [&](const RunPart& part) {
    if (recipe == part.recipe) return true;
    const auto keys = keys_of(part.recipe);
    return keys && *keys == *found && *keys != *last;
  });
}

}  // namespace

Result<Recipe> recorded_recipe(const std::filesystem::path& run, std::span<const Override> overrides, Fingerprints fingerprints) {
  const auto file = run / "recipe.json";
  const auto text = read_text_file(file, kMaxJsonBytes);
  if (!text) return fail(text.error());
  auto recipe = parse_strict_json(*text, file.string());
  if (!recipe) return fail(std::move(recipe.error()));
  const auto identity = RunIdentity::read(run / "identity.json");
  if (!identity) return fail(identity.error());
  const bool is_of_identity = is_left_behind(*recipe, *identity, file);
  if (is_of_identity) *recipe = identity->parts.back().recipe;
  if (fingerprints == Fingerprints::forgotten) forget_fingerprints(*recipe);
  const auto ledger = LedgerReader::open(run / "run.sqlite");
  if (!ledger) {
    return fail(ErrorCode::invalid_input, "where the paths of " + file.string() + " start from is not known: " + ledger.error().message + "; give the recipe again");
  }
  return parse_recipe(json::serialize(*recipe), (is_of_identity ? run / "identity.json" : file).string(), ledger->origin().recipe_directory, overrides);
}

Result<RunSummary> resume_run(RunDirectory directory, const Recipe& recipe, std::span<const std::string> allowed_changes, const RecordedRunOptions& options) {
  const auto identity = RunIdentity::read(directory.identity());
  if (!identity) return fail(identity.error());
  const auto computed = computed_recipe(*identity, directory, recipe.directory);
  if (!computed) return fail(computed.error());
  auto reasons = allowed_differences(computed->identity_keys(), recipe.identity_keys(), allowed_changes);
  if (!reasons) return fail(std::move(reasons.error()));
  Recording recording(recipe, options);
  if (auto prepared = recording.prepare(); !prepared) return fail(std::move(prepared.error()));
  if (auto found = recording.find_place(directory, allowed_changes); !found) return fail(std::move(found.error()));
  recording.take_change(*std::move(reasons), !changes_of_results(computed->identity_keys(), recipe.identity_keys(), recipe.training).empty());
  if (auto cut = recording.go_on(directory); !cut) return fail(std::move(cut.error()));
  return recording.run(directory);
}

}  // namespace pipestill
