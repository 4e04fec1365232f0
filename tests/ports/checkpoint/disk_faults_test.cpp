// Every passage of every point at which SQLite writes, ended or failing in turn: what was told to be kept is there afterwards, and one can go on.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <future>
#include <memory>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ports/checkpoint/answer_store.hpp"
#include "ports/checkpoint/ledger.hpp"
#include "tests/ports/faults.hpp"
#include "tests/ports/support.hpp"

using namespace pipestill;
using testing::Faults;
using testing::TempDir;

namespace {

namespace fs = std::filesystem;
/// Is called for each thing that was told to be kept.
using Told = std::function<void()>;

constexpr std::array kFaultyErrors{"EIO", "ENOSPC"};
constexpr int kFaultyAnswers = 8;

LedgerEntry faulty_entry(std::uint64_t step) {
  return {.step = step, .batch = step, .rows = {{.index = step, .content = sha256("row"), .outcome = "trained", .num_tokens = 3}}, .num_tokens = 3, .datum_digest = std::string(600, 'd')};
}

Result<void> write_ledger(const fs::path& file, const Told& told) {
  auto ledger = Ledger::create(file, {.recipe_directory = "/"});
  if (!ledger) return fail(std::move(ledger.error()));
  for (std::uint64_t step = 0; step < 6; ++step) {
    if (auto appended = (*ledger)->append(faulty_entry(step), {}); !appended) return fail(std::move(appended.error()));
    told();
    if (step != 3) continue;
    if (auto synced = (*ledger)->sync(); !synced) return synced;
  }
  return (*ledger)->close();
}

/// What is wrong, or nothing: the entries are those of write_ledger(), at least `told` of them, and another can be appended.
std::string fault_of_ledger(const fs::path& file, int told) {
  if (!fs::exists(file)) return told == 0 ? "" : "there is no file";
  std::uint64_t steps = 0;
  {
    auto reader = LedgerReader::open(file);
    if (!reader && told == 0 && reader.error().code == ErrorCode::invalid_input) return "";  // it had not been begun
    if (!reader) return reader.error().message;
    for (;; ++steps) {
      const auto record = reader->next();
      if (!record) return record.error().message;
      if (!*record) break;
      if (first_difference((*record)->entry, faulty_entry(steps))) return "step " + std::to_string(steps) + " is another";
    }
  }
  if (steps < static_cast<std::uint64_t>(told)) return std::to_string(told) + " steps were told to be there, and there are " + std::to_string(steps);
  auto ledger = Ledger::open(file, steps);
  if (!ledger) return ledger.error().message;
  if (auto appended = (*ledger)->append(faulty_entry(steps), {}); !appended) return appended.error().message;
  auto closed = (*ledger)->close();
  return closed ? "" : closed.error().message;
}

Sha256Digest faulty_key(int number) { return sha256("faulty key " + std::to_string(number)); }

std::string faulty_payload(int number) { return std::string(900, 'a') + std::to_string(number); }

Result<std::string> commit_answer(AnswerStore& store, int number) {
  std::promise<Result<std::string>> kept;
  store.commit(faulty_key(number), "sample", faulty_payload(number), [&](Result<std::string> r) { kept.set_value(std::move(r)); });
  return kept.get_future().get();
}

Result<void> write_answers(const fs::path& file, const Told& told) {
  const auto store = AnswerStore::open(file, Durability::power);
  if (!store) return fail(store.error());
  for (int i = 0; i < kFaultyAnswers; ++i) {
    if (auto kept = commit_answer(**store, i); !kept) return fail(std::move(kept.error()));
    told();
  }
  return {};
}

std::string fault_of_answers(const fs::path& file, int told) {
  const auto store = AnswerStore::open(file, Durability::process);
  if (!store) return store.error().message;
  for (int i = 0; i < kFaultyAnswers; ++i) {
    std::promise<Result<std::optional<std::string>>> found;
    (*store)->find(faulty_key(i), "sample", [&](Result<std::optional<std::string>> r) { found.set_value(std::move(r)); });
    const auto answer = found.get_future().get();
    if (!answer) return answer.error().message;
    if (i < told && !*answer) return "answer " + std::to_string(i) + " of " + std::to_string(told) + " is gone";
    if (*answer && **answer != faulty_payload(i)) return "answer " + std::to_string(i) + " is another";
  }
  const auto next = commit_answer(**store, kFaultyAnswers);
  return next ? "" : next.error().message;
}

struct FaultyKind {
  const char* name;
  Result<void> (*write)(const fs::path&, const Told&);
  std::string (*fault_of)(const fs::path&, int told);
  bool ends_alone;  ///< its last writes move what is safe in the log already, and nobody is told of them
  std::vector<std::string> points;  ///< that writing passes
};
const FaultyKind& ledger_kind() {
  static const FaultyKind kind{"run.sqlite", write_ledger, fault_of_ledger, false, {"sqlite.open", "sqlite.write", "sqlite.sync", "sqlite.delete"}};
  return kind;
}
const FaultyKind& answers_kind() {
  static const FaultyKind kind{"answers.sqlite", write_answers, fault_of_answers, true, {"sqlite.open", "sqlite.write", "sqlite.sync", "sqlite.delete"}};
  return kind;
}

/// While it lives, temporary files are in memory, where that can be: hundreds of runs need not wait for the disk.
class InMemory {
 public:
  InMemory() {
    if (const char* before = std::getenv("TMPDIR")) before_ = before;
    if (::access("/dev/shm", W_OK) == 0) ::setenv("TMPDIR", "/dev/shm", 1);
  }
  ~InMemory() {
    if (before_) ::setenv("TMPDIR", before_->c_str(), 1);
    else ::unsetenv("TMPDIR");
  }

 private:
  std::optional<std::string> before_;
};

/// Runs `body` in a process of its own, which may have threads: what it says is wrong, or nothing. `told` is how often it called what it is given.
std::string in_another_process(int& told, int& ended_by, const std::function<std::string(const Told&)>& body) {
  int progress[2], verdict[2];
  if (::pipe(progress) != 0 || ::pipe(verdict) != 0) return "no pipe";
  const auto child = ::fork();
  if (child == 0) {
    const auto wrong = body([&] { (void)!::write(progress[1], "x", 1); });
    (void)!::write(verdict[1], wrong.data(), wrong.size());
    ::_exit(0);
  }
  ::close(progress[1]), ::close(verdict[1]);
  told = 0;
  for (char byte = 0; ::read(progress[0], &byte, 1) == 1;) ++told;
  std::string wrong;
  for (char byte = 0; ::read(verdict[0], &byte, 1) == 1;) wrong += byte;
  ::close(progress[0]), ::close(verdict[0]);
  int status = 0;
  if (::waitpid(child, &status, 0) != child) return "no child";
  ended_by = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  if (wrong.empty() && WIFEXITED(status) && WEXITSTATUS(status) != 0) wrong = "exit status " + std::to_string(WEXITSTATUS(status));
  return wrong;
}

/// Every passage of SQLite's points, each with a directory of its own, and what is left there is looked at.
void at_every_passage(const FaultyKind& kind, const std::string& action) {
  const InMemory in_memory;
  const TempDir whole;
  int told = 0, ended_by = 0;
  CHECK(in_another_process(told, ended_by, [&](const Told& tell) {
    testing::trace_points(whole.path() / "trace", [&] { (void)kind.write(whole.path() / kind.name, tell); });
    return std::string();
  }) == "");
  const auto points = testing::points_in(whole.path() / "trace");
  const int all = told;
  CHECK(all >= 6);
  for (const auto& point : kind.points) {
    REQUIRE_MESSAGE(points.count(point) == 1, point);
    for (std::uint64_t passage = 1; passage <= points.at(point); ++passage) {
      const auto fault = point + ":" + std::to_string(passage) + "=" + action;
      CAPTURE(fault);
      const TempDir dir;
      const auto file = dir.path() / kind.name;
      const auto wrong = in_another_process(told, ended_by, [&](const Told& tell) -> std::string {
        Faults::set(fault.c_str());
        int kept = 0;
        const auto written = kind.write(file, [&] { ++kept, tell(); });
        if (written) return point == "sqlite.write" && !(kind.ends_alone && kept == all) ? "a write that failed was passed over" : "";
        const auto& [code, message] = written.error();
        if (message.find(kind.name) == std::string::npos || message.find('\n') != std::string::npos) return "the error does not name the file in one sentence: " + message;
        const bool is_storage = code == ErrorCode::backend_failed || code == ErrorCode::storage_failed || (point == "sqlite.open" && code == ErrorCode::invalid_input);
        return is_storage ? "" : "the error is of another kind: " + message;
      });
      CHECK(wrong == "");
      if (action == "kill") CHECK(ended_by == SIGKILL);
      else CHECK(ended_by == 0);
      const int kept = told;
      CHECK(in_another_process(told, ended_by, [&](const Told&) { return kind.fault_of(file, kept); }) == "");
    }
  }
}

}  // namespace

TEST_CASE("a ledger whose process is ended at any write, sync, open or delete holds what it said, and goes on") { at_every_passage(ledger_kind(), "kill"); }
TEST_CASE("a ledger whose disk fails at any write, sync, open or delete says so, holds what it said, and goes on") {
  for (const auto* error : kFaultyErrors) at_every_passage(ledger_kind(), error);
}
TEST_CASE("an answer store whose process is ended at any write, sync, open or delete holds what it said, and goes on") { at_every_passage(answers_kind(), "kill"); }
TEST_CASE("an answer store whose disk fails at any write, sync, open or delete says so, holds what it said, and goes on") {
  for (const auto* error : kFaultyErrors) at_every_passage(answers_kind(), error);
}

TEST_CASE("an answer whose commit fails is told to nobody, and when the disk is well again the store goes on") {
  const TempDir dir;
  const auto file = dir.path() / "answers.sqlite";
  // The store is opened where faults are planned, so that its disk can fail later.
  std::optional<Faults> faults(std::in_place, "nowhere");
  const auto store = AnswerStore::open(file, Durability::process).value();
  REQUIRE(commit_answer(*store, 0));
  for (const auto* error : kFaultyErrors) {
    Faults::set((std::string("sqlite.write=") + error).c_str());
    for (int i = 0; i < 3; ++i) {
      const auto failed = commit_answer(*store, 1);
      REQUIRE(!failed);
      CHECK(failed.error().code == ErrorCode::storage_failed);
      CHECK(failed.error().message.find(file.string()) != std::string::npos);
    }
    Faults::set("nowhere");
    CHECK(store->counts().committed == 1);
    CHECK(answer_store_stats(file, true).value().answers == 1);
  }
  CHECK(commit_answer(*store, 1).value() == faulty_payload(1));
  CHECK(answer_store_stats(file, true).value().answers == 2);
}
