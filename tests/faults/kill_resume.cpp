// Kills the program at named points and at random moments, or lets its disk fail, lets it go on with --resume until it has finished, and compares with the run
// that nothing happened to.
//
//   kill_resume BIN_DIR SOURCE_DIR [--kills N | --seconds N] [--seed S] [--workflow NAME]... [--random-recipes] [--keep]
//
// A run lives until its schedule of fates is used up: killed (SIGKILL) at the Nth passage of a point of ports/fault_point.hpp, or after so many milliseconds,
// or stopped (SIGINT), or met by a disk that fails from the Nth passage on. Each life has a schedule, a depth and threads of its own. Then it is let finish. What
// it leaves must be what the whole run leaves: weights, ledger, metrics.jsonl, an audit without a fault. Of models that do not repeat themselves no two runs are
// alike: what such a run leaves must be what a replay of its kept answers leaves, over which no model is asked. With --random-recipes there are runs of recipes that
// nobody chose, too, each measured first.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <pcg_random.hpp>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using Words = std::vector<std::string>;
using Milliseconds = std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::minutes kLongestLife(3);  // some hundred times what one takes: who lives longer hangs

[[noreturn]] void give_up(const std::string& why) { throw std::runtime_error(why); }

std::string read_all(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write_all(const fs::path& file, const std::string& text) { std::ofstream(file, std::ios::binary) << text; }

void write_rows(const fs::path& file, int count) {
  std::string rows;
  for (int i = 0; i < count; ++i) rows += R"({"prompt": "question number )" + std::to_string(i) + "\"}\n";
  write_all(file, rows);
}

/// How a process ended.
struct Death {
  int signal = 0, status = 0;
};

/// How it is to end; nothing: by itself.
struct Fate {
  std::string point = {};  ///< of fault_point
  std::uint64_t passage = 1;
  std::string error = {};  ///< that the disk gives from there on; empty: death
  std::optional<Milliseconds> after = std::nullopt;
  int signal = SIGKILL;

  [[nodiscard]] std::string name() const { return !point.empty() ? point : !after ? "none" : signal == SIGINT ? "(a stop at any moment)" : "(any moment)"; }
  [[nodiscard]] std::string variable() const { return point + ":" + std::to_string(passage) + (error.empty() ? "" : "=" + error); }
  [[nodiscard]] std::string told() const { return !point.empty() ? variable() : name() + (after ? " after " + std::to_string(after->count()) + " ms" : ""); }
};

class Program {
 public:
  explicit Program(fs::path file) : file_(std::move(file)) {}

  Death run(const Words& arguments, const fs::path& log, const Fate& fate = {}, const fs::path& trace = {}) const {
    const auto child = ::fork();
    if (child < 0) give_up("cannot fork");
    if (child == 0) {
      const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644), in = ::open("/dev/null", O_RDONLY);
      ::dup2(in, 0), ::dup2(out, 1), ::dup2(out, 2);
      if (!fate.point.empty()) ::setenv("PIPESTILL_FAULT", fate.variable().c_str(), 1);
      if (!trace.empty()) ::setenv("PIPESTILL_FAULT_TRACE", trace.c_str(), 1);
      std::vector<char*> words{const_cast<char*>(file_.c_str())};
      for (const auto& word : arguments) words.push_back(const_cast<char*>(word.c_str()));
      words.push_back(nullptr);
      ::execv(file_.c_str(), words.data());
      ::_exit(127);
    }
    int status = 0;
    const auto began = SteadyClock::now();
    for (bool is_hit = false;;) {
      const auto ended = ::waitpid(child, &status, WNOHANG);
      if (ended == child) break;
      if (ended < 0) give_up("cannot wait for a child");
      const auto lived = SteadyClock::now() - began;
      if (fate.after && !is_hit && lived >= *fate.after) ::kill(child, fate.signal), is_hit = true;
      if (lived > kLongestLife) {
        ::kill(child, SIGKILL);
        ::waitpid(child, &status, 0);
        give_up("a life of " + std::to_string(kLongestLife.count()) + " minutes has no end; " + log.string() + " says:\n" + read_all(log));
      }
      std::this_thread::sleep_for(Milliseconds(1));
    }
    return death_of(status);
  }

 private:
  static Death death_of(int status) { return {WIFSIGNALED(status) ? WTERMSIG(status) : 0, WIFEXITED(status) ? WEXITSTATUS(status) : 0}; }
  fs::path file_;
};

/// What a finished run leaves, as far as it is determined.
struct Outcome {
  std::string weights, ledger;
  std::vector<std::string> metrics;  // lines, without what was observed
  bool operator==(const Outcome&) const = default;
};

Outcome outcome_of(const fs::path& run) {
  const auto summary = json::parse(read_all(run / "summary.json")).as_object();
  if (summary.at("status") != "finished") give_up(run.string() + " has not finished");
  Outcome outcome{std::string(summary.at("weights_digest").as_string()), std::string(summary.at("ledger_digest").as_string()), {}};
  const auto text = read_all(run / "metrics.jsonl");
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = text.find('\n', begin);
    auto line = json::parse(text.substr(begin, end - begin)).as_object();
    line.erase("observed");
    outcome.metrics.push_back(json::serialize(line));
    begin = end + 1;
  }
  return outcome;
}

struct Workflow {
  std::string name;
  fs::path recipe;
  Words flags;
  unsigned weight = 1;  ///< of its share of the kills
  bool has_store = false;
  bool is_repeatable = true;  ///< what its models say
  Outcome whole = {};
  Milliseconds duration{};
  using Points = std::map<std::string, std::uint64_t>;
  Points points = {}, resumed_points = {};  ///< with how often the whole run, and one that goes on from its middle, passes each
};

struct Tally {
  std::map<std::string, int> kills;
  struct Failures {
    int ended = 0, outlived = 0;  ///< the run ended with exit status 3; it went on to its end, as if nothing had been, or the fault was behind that
  };
  std::map<std::string, Failures> failures;
  std::map<std::string, int> lives;  ///< by schedule, and by depth
  int recipes = 0, runs = 0, replays = 0, resumes = 0, stops = 0, unmet = 0, lost = 0, duplicated = 0, equal = 0, clean = 0;
  long asked = 0, committed = 0, asked_again = 0;  ///< answers; again: of those that had been committed

  [[nodiscard]] int killed() const {
    int all = 0;
    for (const auto& [point, count] : kills) all += count;
    return all;
  }
  [[nodiscard]] int failed() const {
    int all = 0;
    for (const auto& [point, count] : failures) all += count.ended;
    return all;
  }
};

class Trial {
 public:
  Trial(Program program, fs::path scratch, std::uint64_t seed) : program_(std::move(program)), scratch_(std::move(scratch)), random_(seed) {}

  /// The run that nobody kills, and which points it passes.
  void measure(Workflow& workflow) {
    const auto run = scratch_ / (workflow.name + "-whole"), trace = scratch_ / (workflow.name + ".points");
    const auto began = std::chrono::steady_clock::now();
    expect_done(program_.run(command(workflow, run, false), log_of(run), {}, trace), run);
    workflow.duration = std::chrono::duration_cast<Milliseconds>(std::chrono::steady_clock::now() - began);
    workflow.whole = outcome_of(run);
    workflow.points = points_in(trace);
    if (workflow.points.size() < 8) give_up(workflow.name + " passes " + std::to_string(workflow.points.size()) + " points only");
    if (workflow.whole.metrics.size() < 2) give_up(workflow.name + " has no middle");
    const auto half = scratch_ / (workflow.name + "-half");
    const auto death = program_.run(command(workflow, half, false), log_of(half), {.point = "ledger.after_commit", .passage = workflow.whole.metrics.size() / 2});
    if (death.signal != SIGKILL) give_up(half.string() + " was to be killed half way, and was not");
    fs::remove(trace);
    expect_done(program_.run(command(workflow, half, true), log_of(half), {}, trace), half);
    workflow.resumed_points = points_in(trace);
    for (const auto& done : {run, half}) fs::remove_all(done);
    for (const auto& done : {run, half}) remove_store(done);
  }

  /// A recipe of the simulated models that nobody chose, on the rows of `scratch`.
  Workflow draw_recipe(Tally& tally) {
    const auto draw = [this](std::initializer_list<int> choices) { return std::to_string(choices.begin()[random_(static_cast<std::uint32_t>(choices.size()))]); };
    const bool is_on_policy = random_(2) == 0;
    const int rows = 1 + static_cast<int>(random_(40)), batch_size = 1 + static_cast<int>(random_(7)), epochs = 2 + static_cast<int>(random_(3));
    const int batches = epochs * ((rows + batch_size - 1) / batch_size);
    Workflow workflow{.name = "random-" + std::to_string(++tally.recipes), .recipe = {}, .flags = {}, .has_store = random_(3) == 0, .is_repeatable = random_(4) > 0};
    const std::string repeatable = workflow.is_repeatable ? "" : R"("repeatable": false, )";
    if (!workflow.is_repeatable) workflow.has_store = false;  // they have one of their own, which is what a replay looks for
    workflow.recipe = scratch_ / (workflow.name + ".json");
    write_rows(scratch_ / (workflow.name + ".jsonl"), rows);
    std::ostringstream recipe;
    recipe << R"({"method": ")" << (is_on_policy ? "on_policy" : "off_policy") << R"(", "seed": )" << random_(1000) << R"(, "dataset": {"path": ")" << workflow.name << R"(.jsonl"},
  "teacher": {"client": "simulated", )" << repeatable << R"("max_tokens": )" << draw({1, 5, 12}) << R"(, "latency": {"distribution": "uniform", "min_ms": 0, "max_ms": )" << draw({1, 4, 15}) << R"(}},
  "student": {"client": "simulated", )" << repeatable << R"("tokenizer": "bytes", "renderer": "role_colon", "latency": {"distribution": "fixed", "mean_ms": )" << draw({0, 1, 4}) << R"(}},
  "training": {"batch_size": )" << batch_size << R"(, "epochs": )" << epochs;
    if (random_(3) == 0) recipe << R"(, "max_steps": )" << 2 + random_(static_cast<std::uint32_t>(batches - 1));
    recipe << R"(, "learning_rate": 1e-3},
  "engine": {"depth": )" << 1 + random_(8) << R"(, "staleness": )" << (is_on_policy ? draw({0, 1, 2}) : "0") << R"(, "stop_grace": )" << (random_(2) ? "0.02" : "0.0") << R"(},
  "checkpoint": {"every": )" << draw({0, 1, 2, 3, 5, 8}) << R"(, "keep_last": )" << draw({1, 2, 3}) << "}}\n";
    write_all(workflow.recipe, recipe.str());
    return workflow;
  }

  /// What draw_recipe() wrote.
  void forget_recipe(const Workflow& workflow) const {
    fs::remove(workflow.recipe);
    fs::remove(scratch_ / (workflow.name + ".jsonl"));
  }

  /// One run and what it meets, at most `most` deaths and failures.
  void live(const Workflow& workflow, int most, Tally& tally) {
    const auto run = scratch_ / (workflow.name + "-" + std::to_string(++tally.runs));
    const int fates = std::min<int>(most, 1 + static_cast<int>(random_(4)));
    history_ = "  recipe: " + read_all(workflow.recipe) + "\n";
    int met = 0;
    for (bool is_first = true;; is_first = false) {
      const auto fate = met < fates ? draw_fate(is_first ? workflow.points : workflow.resumed_points, workflow.duration, tally) : Fate{};
      auto words = command(workflow, run, !is_first);
      const auto pace = draw_pace(tally);
      words.insert(words.end(), pace.begin(), pace.end());
      history_ += " ";
      for (const auto& word : pace) history_ += " " + word;
      history_ += " " + fate.told() + "\n";
      const auto death = program_.run(words, log_of(run), fate, trace_of(run));
      tally.resumes += is_first ? 0 : 1;
      ++met;
      if (death.signal == SIGKILL) {
        ++tally.kills[fate.name()];
        continue;
      }
      if ((death.status == 130 || death.signal == SIGINT) && fate.signal == SIGINT) {  // the latter before the program listens
        ++tally.stops;
        continue;
      }
      if (death.status == 3 && !fate.error.empty()) {
        expect_sentence(run);
        ++tally.failures[fate.name()].ended;
        continue;
      }
      expect_done(death, run);
      if (fate.name() == "none") break;
      if (!fate.error.empty()) ++tally.failures[fate.name()].outlived;
      else ++tally.unmet;  // it finished first
      break;
    }
    compare(workflow, run, tally);
    fs::remove_all(run);
    fs::remove(trace_of(run));
    fs::remove(log_of(run));
    remove_store(run);
    history_.clear();
  }

  [[nodiscard]] const std::string& history() const { return history_; }

 private:
  static Workflow::Points points_in(const fs::path& trace) {
    Workflow::Points points;
    std::ifstream names(trace);
    for (std::string name; std::getline(names, name);) {
      if (name.find(' ') == std::string::npos) ++points[name];  // the others are facts
    }
    return points;
  }

  void remove_store(const fs::path& run) const {
    for (const char* end : {"", "-wal", "-shm"}) fs::remove(store_of(run).string() + end);
  }

  /// What may differ between the lives of one run, and changes no byte. Nothing: as the recipe says.
  Words draw_pace(Tally& tally) {
    Words words;
    switch (random_(4)) {
      case 0:
        ++tally.lives["as the recipe says"];
        break;
      case 1:
        ++tally.lives["sequential"];
        words = {"--schedule", "sequential"};
        break;
      default: {
        const auto depth = std::to_string(1 + random_(8));
        ++tally.lives["pipelined, depth " + depth];
        words = {"--schedule", "pipelined", "--depth", depth};
      }
    }
    if (const auto threads = random_(5); threads > 0) words.insert(words.end(), {"--threads", std::to_string(threads)});
    return words;
  }

  static fs::path log_of(const fs::path& run) { return run.string() + ".log"; }
  static fs::path trace_of(const fs::path& run) { return run.string() + ".trace"; }
  static fs::path store_of(const fs::path& run) { return run.string() + ".answers"; }

  static Words command(const Workflow& workflow, const fs::path& run, bool is_resumed) {
    Words words{"run", workflow.recipe.string(), "--out", run.string(), "--no-progress"};
    if (is_resumed) words.push_back("--resume");
    words.insert(words.end(), workflow.flags.begin(), workflow.flags.end());
    if (workflow.has_store) words.insert(words.end(), {"--set", "teacher.teacher_store=" + store_of(run).string()});
    return words;
  }

  /// Points that were killed at least often come first, so that every one has its turn.
  Fate draw_fate(const Workflow::Points& points, Milliseconds duration, const Tally& tally) {
    const auto kind = random_(10);
    if (kind == 3 || kind == 4) return draw_failure(points);
    if (kind < 3) return {.after = Milliseconds(1 + random_(static_cast<std::uint32_t>(duration.count() + 20))), .signal = kind == 0 ? SIGINT : SIGKILL};
    std::vector<std::string> rarest;
    int fewest = 1 << 30;
    for (const auto& [point, passages] : points) {
      const auto found = tally.kills.find(point);
      const int count = found == tally.kills.end() ? 0 : found->second;
      if (count < fewest) rarest.clear(), fewest = count;
      if (count == fewest) rarest.push_back(point);
    }
    Fate fate{.point = rarest[random_(static_cast<std::uint32_t>(rarest.size()))]};
    fate.passage = 1 + random_(static_cast<std::uint32_t>(points.at(fate.point)));
    return fate;
  }

  /// A disk that fails from some passage on: of those points at which an operation can fail.
  Fate draw_failure(const Workflow::Points& points) {
    static constexpr std::array<std::string_view, 6> kOfTheDisk{"file.", "directory.", "sqlite.write", "sqlite.sync", "sqlite.truncate", "sqlite.delete"};
    static constexpr std::array<const char*, 4> kErrors{"ENOSPC", "EIO", "EROFS", "EDQUOT"};
    std::vector<std::string> able;
    for (const auto& [point, passages] : points) {
      if (std::ranges::any_of(kOfTheDisk, [&](std::string_view begin) { return point.starts_with(begin); })) able.push_back(point);
    }
    if (able.empty()) give_up("no point at which the disk can fail is passed");
    Fate fate{.point = able[random_(static_cast<std::uint32_t>(able.size()))], .error = kErrors[random_(kErrors.size())]};
    fate.passage = 1 + random_(static_cast<std::uint32_t>(points.at(fate.point)));
    return fate;
  }

  /// One sentence of the program's, which names a place in the run.
  static void expect_sentence(const fs::path& run) {
    std::istringstream lines(read_all(log_of(run)));
    int sentences = 0;
    bool has_place = false;
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with("pipestill: ")) continue;
      ++sentences;
      has_place = has_place || line.find(run.string()) != line.npos;
    }
    if (sentences != 1 || !has_place) give_up(run.string() + " failed without one sentence that names it:\n" + read_all(log_of(run)));
  }

  static void expect_done(const Death& death, const fs::path& run) {
    if (death.signal != 0 || death.status != 0) {
      give_up(run.string() + " ended with " + (death.signal ? "signal " + std::to_string(death.signal) : "exit status " + std::to_string(death.status)) + ":\n" + read_all(log_of(run)));
    }
  }

  void compare(const Workflow& workflow, const fs::path& run, Tally& tally) const {
    const auto found = outcome_of(run);
    const auto whole = workflow.is_repeatable ? workflow.whole : replayed(run, tally);
    std::map<std::string, int> seen;
    for (const auto& line : found.metrics) ++seen[line];
    for (const auto& line : whole.metrics) tally.lost += seen.count(line) ? 0 : 1;
    for (const auto& [line, count] : seen) tally.duplicated += count - 1;
    tally.equal += found == whole ? 1 : 0;
    const auto audit = program_.run({"audit", run.string()}, log_of(run));
    tally.clean += audit.status == 0 && audit.signal == 0 ? 1 : 0;
    count_answers(trace_of(run), tally);
    if (found != whole || audit.status != 0) give_up(run.string() + " differs from the whole run, or its audit has faults:\n" + read_all(log_of(run)));
    // Resumed once more it has nothing to do, and changes nothing.
    expect_done(program_.run(command(workflow, run, true), log_of(run)), run);
    if (read_all(log_of(run)).find("has finished") == std::string::npos || outcome_of(run) != found) give_up(run.string() + ": a run that has finished went on");
  }

  /// The same run once more, from its kept answers alone, at another pace.
  Outcome replayed(const fs::path& run, Tally& tally) const {
    const auto replay = fs::path(run.string() + "-replayed");
    expect_done(program_.run({"run", "--replay", run.string(), "--out", replay.string(), "--no-progress", "--depth", "2"}, log_of(run)), run);
    const auto outcome = outcome_of(replay);
    fs::remove_all(replay);
    ++tally.replays;
    return outcome;
  }

  /// Facts of all lives, in their order: once an answer is committed nobody asks for it.
  static void count_answers(const fs::path& trace, Tally& tally) {
    std::set<std::string> committed;
    std::ifstream facts(trace);
    for (std::string fact; std::getline(facts, fact);) {
      const auto space = fact.find(' ');
      if (space == std::string::npos) continue;
      const auto key = fact.substr(space + 1);
      if (fact.starts_with("committed ")) {
        ++tally.committed;
        committed.insert(key);
      } else {
        ++tally.asked;
        tally.asked_again += committed.count(key) ? 1 : 0;
      }
    }
  }

  Program program_;
  fs::path scratch_;
  pcg32 random_;
  std::string history_;  // of the run under way
};

std::vector<Workflow> workflows(const fs::path& bin, const fs::path& source, const fs::path& scratch) {
  write_rows(scratch / "rows.jsonl", 37);
  const auto simulated = [&](const std::string& name, const std::string& method, int staleness, bool is_repeatable) {
    const auto recipe = scratch / (name + ".json");
    const std::string repeatable = is_repeatable ? "" : R"("repeatable": false, )";
    write_all(recipe, R"({"method": ")" + method + R"(", "seed": 5, "dataset": {"path": "rows.jsonl"},
  "teacher": {"client": "simulated", )" + repeatable + R"("max_tokens": 12, "latency": {"distribution": "uniform", "min_ms": 1, "max_ms": 8}},
  "student": {"client": "simulated", )" + repeatable + R"("tokenizer": "bytes", "renderer": "role_colon", "latency": {"distribution": "fixed", "mean_ms": 2}},
  "training": {"batch_size": 4, "epochs": 3, "learning_rate": 1e-3, "lr_schedule": "cosine"},
  "engine": {"depth": 4, "staleness": )" + std::to_string(staleness) + R"(, "stop_grace": 0.02}, "checkpoint": {"every": 4, "keep_last": 2}})");
    return recipe;
  };
  std::vector<Workflow> all;
  all.push_back({.name = "off_policy", .recipe = simulated("off_policy", "off_policy", 0, true), .flags = {}, .weight = 4, .has_store = true});
  all.push_back({.name = "on_policy", .recipe = simulated("on_policy", "on_policy", 1, true), .flags = {}, .weight = 4});
  all.push_back({.name = "unrepeatable", .recipe = simulated("unrepeatable", "on_policy", 1, false), .flags = {}, .weight = 2, .is_repeatable = false});
  if (fs::exists(bin.parent_path() / "lib/pipestill_torch.so")) {
    const auto data = scratch / "data", log = scratch / "make_data.log";
    const auto made = Program(bin / "make_data").run({data}, log);
    if (made.signal != 0 || made.status != 0) give_up("make_data: " + read_all(log));
    all.push_back({.name = "embedded",
                   .recipe = source / "examples/tasks/distill.json",
                   .flags = {"--set", "dataset.path=" + (data / "train.jsonl").string(), "--set", "evaluation.path=" + (data / "test.jsonl").string(), "--set", "training.max_steps=24", "--set", "training.batch_size=16", "--set", "evaluation.every=0", "--set", "evaluation.limit=4", "--set", "checkpoint.every=5",
                             "--set", "engine.stop_grace=0.1"},
                   .weight = 1,
                   .has_store = true});
  }
  return all;
}

void print(const Tally& tally, const std::vector<Workflow>& all) {
  std::set<std::string> points;
  for (const auto& workflow : all) {
    for (const auto& [point, passages] : workflow.points) points.insert(point);
    for (const auto& [point, passages] : workflow.resumed_points) points.insert(point);
  }
  for (const auto& [point, kills] : tally.kills) points.insert(point);
  int outlived = 0;
  std::printf("\n%-34s kills  failures: exit 3, outlived\n", "point");
  for (const auto& point : points) {
    std::printf("%-34s %5d", point.c_str(), tally.kills.count(point) ? tally.kills.at(point) : 0);
    if (const auto found = tally.failures.find(point); found != tally.failures.end()) {
      std::printf("  %16d %9d", found->second.ended, found->second.outlived);
      outlived += found->second.outlived;
    }
    std::printf("\n");
  }
  std::printf("\nlives:");
  for (const auto& [pace, count] : tally.lives) std::printf(" %d %s;", count, pace.c_str());
  std::printf("\n%d runs of %zu workflows and %d random recipes, %d kills, %d stops, %d failures of the disk with exit status 3, %d outlived, ", tally.runs, all.size(), tally.recipes, tally.killed(),
              tally.stops, tally.failed(), outlived);
  std::printf("%d resumes (%d ended before their fate)\n%d runs compared with their replay, the others with the run that nothing met\nlost %d, duplicated %d, audit clean %d of %d, digest equal %d of %d\n", tally.resumes, tally.unmet, tally.replays, tally.lost, tally.duplicated, tally.clean,
              tally.runs, tally.equal, tally.runs);
  std::printf("%ld answers asked for, %ld committed, %ld asked for again that had been committed\n", tally.asked, tally.committed, tally.asked_again);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fputs("usage: kill_resume BIN_DIR SOURCE_DIR [--kills N | --seconds N] [--seed S] [--workflow NAME]... [--random-recipes] [--keep]\n", stderr);
    return 2;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const fs::path bin = fs::absolute(argv[1]), source = fs::absolute(argv[2]);
  int kills = 30;
  std::optional<std::chrono::seconds> seconds;
  std::uint64_t seed = 20261123;
  std::set<std::string> wanted;
  bool is_kept = false, has_random_recipes = false;
  for (int i = 3; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--keep") is_kept = true;
    else if (word == "--random-recipes") has_random_recipes = true;
    else if (i + 1 == argc) return std::fprintf(stderr, "kill_resume: %s needs a value, or is not known\n", word.c_str()), 2;
    else if (word == "--kills") kills = std::atoi(argv[++i]);
    else if (word == "--seconds") seconds = std::chrono::seconds(std::atoi(argv[++i]));
    else if (word == "--seed") seed = std::strtoull(argv[++i], nullptr, 10);
    else if (word == "--workflow") wanted.insert(argv[++i]);
    else return std::fprintf(stderr, "kill_resume: unknown word %s\n", word.c_str()), 2;
  }
  const auto scratch = fs::temp_directory_path() / ("pipestill-kill-resume-" + std::to_string(::getpid()));
  fs::create_directories(scratch);
  Trial trial(Program(bin / "pipestill"), scratch, seed);
  Tally tally;
  try {
    auto all = workflows(bin, source, scratch);
    if (!wanted.empty()) std::erase_if(all, [&](const Workflow& workflow) { return !wanted.count(workflow.name); });
    if (all.empty()) give_up("no such workflow");
    for (auto& workflow : all) {
      trial.measure(workflow);
      std::printf("%-12s %3zu batches, %2zu points, %lld ms\n", workflow.name.c_str(), workflow.whole.metrics.size(), workflow.points.size(), static_cast<long long>(workflow.duration.count()));
    }
    std::vector<const Workflow*> turns;
    for (const auto& workflow : all) turns.insert(turns.end(), workflow.weight, &workflow);
    const auto began = SteadyClock::now(), until = began + seconds.value_or(std::chrono::seconds(0));
    const auto is_over = [&] { return seconds ? SteadyClock::now() >= until : tally.killed() >= kills; };
    const auto most = [&] { return seconds ? 4 : kills - tally.killed(); };
    auto told = began;
    for (std::size_t turn = 0; !is_over(); ++turn) {
      if (const auto now = SteadyClock::now(); now - told >= std::chrono::minutes(1)) {
        told = now;
        std::printf("%3lld min: %d runs, %d kills, %d stops, %d failures of the disk, %d resumes; lost %d, duplicated %d, another digest %d\n",
                    static_cast<long long>(std::chrono::duration_cast<std::chrono::minutes>(now - began).count()), tally.runs, tally.killed(), tally.stops, tally.failed(), tally.resumes, tally.lost,
                    tally.duplicated, tally.runs - tally.equal);
      }
      trial.live(*turns[turn % turns.size()], most(), tally);
      if (!has_random_recipes) continue;
      auto drawn = trial.draw_recipe(tally);
      trial.measure(drawn);
      for (int i = 0; i < 3 && !is_over(); ++i) trial.live(drawn, most(), tally);
      trial.forget_recipe(drawn);
    }
    print(tally, all);
  } catch (const std::exception& e) {
    std::printf("seed %llu; what the run under way met:\n%skept: %s\nFAILED: %s\n", static_cast<unsigned long long>(seed), trial.history().c_str(), scratch.c_str(), e.what());
    return 1;
  }
  if (!is_kept) fs::remove_all(scratch);
  return tally.lost == 0 && tally.duplicated == 0 && tally.equal == tally.runs && tally.clean == tally.runs && tally.asked_again == 0 ? 0 : 1;
}
