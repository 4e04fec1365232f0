#include "ports/checkpoint/ledger.hpp"

#include <doctest/doctest.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <set>

#include "ports/fault_point.hpp"
#include "tests/ports/support.hpp"

using namespace pipestill;
using testing::TempDir;

namespace {

using std::chrono::nanoseconds;

/// A batch with something in every column.
LedgerEntry ledger_entry_at(std::uint64_t step) {
  LedgerEntry entry{.step = step,
                    .epoch = step / 3,
                    .batch = step % 3,
                    .student_version = step / 2,
                    .num_tokens = 7 + step,
                    .datum_digest = "datums " + std::to_string(step),
                    .learning_rate = 0.1 * static_cast<double>(step + 1),
                    .distill_loss = 1.0 / 3.0 + static_cast<double>(step),
                    .grad_norm = 4.0};
  entry.rows = {{.dataset = 0, .index = 5, .content = sha256("five"), .teacher = "t", .renderer = "r", .outcome = "trained", .num_tokens = 7 + step},
                {.dataset = 1, .index = 6, .outcome = "bad"}};
  return entry;
}
LedgerObserved observed_at(std::uint64_t step) {
  return {.teacher_latency = nanoseconds(1000 + step), .forward_backward = nanoseconds(2000), .time = nanoseconds(3000), .attempts = 2, .tokens_paid = std::nullopt};
}

/// Bit for bit, the teacher's name too, which no digest includes.
bool is_same_entry(const LedgerEntry& a, const LedgerEntry& b) {
  if (first_difference(a, b)) return false;
  for (std::size_t i = 0; i < a.rows.size(); ++i) {
    if (a.rows[i].teacher != b.rows[i].teacher) return false;
  }
  return true;
}

std::unique_ptr<Ledger> new_ledger(const std::filesystem::path& path, std::uint64_t steps = 0) {
  auto ledger = Ledger::create(path, {.recipe_directory = "/somewhere"});
  if (!ledger) FAIL(ledger.error().message);
  for (std::uint64_t step = 0; step < steps; ++step) REQUIRE((*ledger)->append(ledger_entry_at(step), observed_at(step)));
  return *std::move(ledger);
}
std::filesystem::path closed_ledger(const TempDir& dir, std::uint64_t steps, const std::string& name = "run.sqlite") {
  REQUIRE(new_ledger(dir.path() / name, steps)->close());
  return dir.path() / name;
}

Result<std::vector<LedgerRecord>> read_ledger(const std::filesystem::path& path) {
  auto reader = LedgerReader::open(path);
  if (!reader) return fail(reader.error());
  std::vector<LedgerRecord> records;
  for (;;) {
    auto record = reader->next();
    if (!record) return fail(record.error());
    if (!*record) return records;
    records.push_back(**std::move(record));
  }
}

void change_database(const std::filesystem::path& path, const std::string& sql) {
  sqlite3* database = nullptr;
  REQUIRE(sqlite3_open(path.c_str(), &database) == SQLITE_OK);
  char* error = nullptr;
  const int status = sqlite3_exec(database, sql.c_str(), nullptr, nullptr, &error);
  INFO((error ? error : ""));
  REQUIRE(status == SQLITE_OK);
  sqlite3_close(database);
}

std::string ledger_refusal(const std::filesystem::path& path, std::uint64_t cursor = 0) {
  const auto opened = Ledger::open(path, cursor);
  if (opened) return "accepted";
  CHECK(opened.error().code == ErrorCode::invalid_input);
  CHECK(opened.error().message.find(path.filename().string()) != std::string::npos);
  return opened.error().message;
}
bool error_says(const std::string& text, const std::string& part) {
  INFO(text);
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("what was appended comes back, to the bit of every float") {
  const TempDir dir;
  const auto path = dir.path() / "run.sqlite";
  const auto nan_with_bits = std::bit_cast<double>(std::uint64_t{0x7ff8'0000'0000'1234});
  auto odd = ledger_entry_at(1);
  odd.student_version.reset();
  odd.distill_loss = -0.0;
  odd.grad_norm = nan_with_bits;
  odd.learning_rate = std::numeric_limits<double>::denorm_min();
  odd.rows[0].teacher = std::string("nul \0 and \xff", 11);
  auto empty = ledger_entry_at(2);
  empty.rows.clear();
  empty.distill_loss.reset();
  empty.grad_norm = std::numeric_limits<double>::infinity();
  empty.datum_digest.clear();
  {
    const auto ledger = new_ledger(path);
    CHECK(ledger->next_step() == 0);
    CHECK(ledger->digest() == empty_ledger_digest());
    for (const auto& entry : {ledger_entry_at(0), odd, empty}) {
      const auto before = ledger->digest();
      const auto digest = ledger->append(entry, observed_at(entry.step));
      if (!digest) FAIL(digest.error().message);
      CHECK(*digest == ledger_digest(before, entry));
      CHECK(ledger->digest() == *digest);
    }
    CHECK(ledger->next_step() == 3);
    CHECK(is_same_entry(ledger->read(1).value().entry, odd));
    CHECK(ledger->read(3).error().code == ErrorCode::internal);
    REQUIRE(ledger->close());
  }
  CHECK(LedgerReader::open(path).value().origin().recipe_directory == "/somewhere");
  {
    const auto ledger = Ledger::open(path, 2).value();
    REQUIRE(ledger->set_origin({.recipe_directory = "/elsewhere"}));
    REQUIRE(ledger->close());
  }
  const auto records = read_ledger(path);
  if (!records) FAIL(records.error().message);
  REQUIRE(records->size() == 3);
  CHECK(is_same_entry((*records)[0].entry, ledger_entry_at(0)));
  CHECK(is_same_entry((*records)[1].entry, odd));
  CHECK(is_same_entry((*records)[2].entry, empty));
  CHECK((*records)[0].observed == observed_at(0));
  CHECK((*records)[2].digest == ledger_digest((*records)[1].digest, empty));
  CHECK(LedgerReader::open(path).value().origin().recipe_directory == "/elsewhere");
  CHECK(!LedgerReader::open(path).value().step_without_batch().value());
  CHECK(std::distance(std::filesystem::directory_iterator(dir.path()), {}) == 1);  // one file, and nothing beside it
}

TEST_CASE("the cumulative digest is over every determined column, and over none of the others") {
  const auto digest_of = [](const std::function<void(LedgerEntry&)>& change) {
    auto entry = ledger_entry_at(1);
    change(entry);
    return ledger_digest(empty_ledger_digest(), entry);
  };
  std::set<Sha256Digest> digests{digest_of([](LedgerEntry&) {})};
  const std::vector<std::pair<std::string, std::function<void(LedgerEntry&)>>> changes{
      {"step", [](LedgerEntry& e) { e.step = 2; }},
      {"epoch", [](LedgerEntry& e) { e.epoch = 9; }},
      {"batch", [](LedgerEntry& e) { e.batch = 9; }},
      {"student_version", [](LedgerEntry& e) { e.student_version = 9; }},
      {"student_version", [](LedgerEntry& e) { e.student_version.reset(); }},
      {"rows[0].dataset", [](LedgerEntry& e) { e.rows[0].dataset = 9; }},
      {"rows[0].row", [](LedgerEntry& e) { e.rows[0].index = 9; }},
      {"rows[0].content", [](LedgerEntry& e) { e.rows[0].content->back() ^= 1; }},
      {"rows[0].content", [](LedgerEntry& e) { e.rows[0].content.reset(); }},
      {"rows[0].renderer", [](LedgerEntry& e) { e.rows[0].renderer = "other"; }},
      {"rows[1].outcome", [](LedgerEntry& e) { e.rows[1].outcome = "empty"; }},
      {"rows[1].num_tokens", [](LedgerEntry& e) { e.rows[1].num_tokens = 1; }},
      {"rows[1]", [](LedgerEntry& e) { e.rows.pop_back(); }},
      {"rows[0].dataset", [](LedgerEntry& e) { std::swap(e.rows[0], e.rows[1]); }},
      {"num_tokens", [](LedgerEntry& e) { e.num_tokens = 9; }},
      {"datum_digest", [](LedgerEntry& e) { e.datum_digest = "datums"; }},
      {"learning_rate", [](LedgerEntry& e) { e.learning_rate = std::nextafter(e.learning_rate, 1); }},
      {"distill_loss", [](LedgerEntry& e) { e.distill_loss = std::nextafter(*e.distill_loss, 0); }},
      {"distill_loss", [](LedgerEntry& e) { e.distill_loss.reset(); }},
      {"grad_norm", [](LedgerEntry& e) { e.grad_norm = 0.0; }},
      {"grad_norm", [](LedgerEntry& e) { e.grad_norm = -0.0; }},
      {"grad_norm", [](LedgerEntry& e) { e.grad_norm.reset(); }},
  };
  for (const auto& change : changes) {
    INFO(change.first);
    CHECK(digests.insert(digest_of(change.second)).second);
    auto changed = ledger_entry_at(1);
    change.second(changed);
    const auto difference = first_difference(ledger_entry_at(1), changed);
    REQUIRE(difference);
    CHECK(difference->field == change.first);
    CHECK(difference->a != difference->b);
  }
  CHECK(digests.contains(digest_of([](LedgerEntry& e) { e.rows[0].teacher = "where it lies elsewhere"; })));
  CHECK(ledger_digest(sha256("another past"), ledger_entry_at(1)) != digest_of([](LedgerEntry&) {}));

  // The canonical form, written out: whoever computes it elsewhere needs no more than this.
  Sha256 by_hand;
  const auto bits = [](double value) { return std::bit_cast<std::uint64_t>(value); };
  by_hand.update(digest_bytes(sha256("pipestill ledger 1"))).number(1).number(0).number(1);  // step, epoch, batch
  by_hand.number(1).number(0);                                                              // student_version 0
  by_hand.number(2);
  by_hand.number(0).number(5).number(1).field(digest_bytes(sha256("five"))).field("r").field("trained").number(8);
  by_hand.number(1).number(6).number(0).field("").field("bad").number(0);
  by_hand.number(8).field("datums 1").number(bits(0.2)).number(1).number(bits(1.0 / 3.0 + 1)).number(1).number(bits(4.0));
  CHECK(by_hand.finish() == digest_of([](LedgerEntry&) {}));
}

TEST_CASE("a step that is not the next one is refused, and changes nothing") {
  const TempDir dir;
  const auto ledger = new_ledger(dir.path() / "run.sqlite", 2);
  const auto digest = ledger->digest();
  for (const std::uint64_t step : {0u, 1u, 3u}) {
    const auto refused = ledger->append(ledger_entry_at(step), {});
    REQUIRE(!refused);
    CHECK(refused.error().code == ErrorCode::internal);
    CHECK(error_says(refused.error().message, "at step 2, and step " + std::to_string(step)));
  }
  auto too_large = ledger_entry_at(2);
  too_large.rows[1].index = std::uint64_t{1} << 63;
  CHECK(ledger->append(too_large, {}).error().code == ErrorCode::internal);
  CHECK(ledger->next_step() == 2);
  CHECK(ledger->digest() == digest);
  REQUIRE(ledger->append(ledger_entry_at(2), {}));  // what was begun was taken back
  REQUIRE(ledger->close());
  CHECK(read_ledger(dir.path() / "run.sqlite").value().size() == 3);
}

TEST_CASE("a disk that is full is an error of the batch, after which nothing has changed") {
  const TempDir dir;
  const auto path = dir.path() / "run.sqlite";
  // In a process of its own: the limit, which stands for the disk, is a process's.
  const auto child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    auto ledger = Ledger::create(path, {.recipe_directory = "/"});
    rlimit limit{};
    getrlimit(RLIMIT_FSIZE, &limit);
    const auto plenty = limit;
    limit.rlim_cur = 200'000;
    setrlimit(RLIMIT_FSIZE, &limit);
    std::uint64_t step = 0;
    Result<Sha256Digest> appended = empty_ledger_digest();
    for (; appended && step < 10'000; ++step) appended = (*ledger)->append(ledger_entry_at(step), observed_at(step));
    const auto full_at = step - 1;
    if (appended || appended.error().code != ErrorCode::backend_failed || appended.error().message.find(path.string()) == std::string::npos) _exit(1);
    if ((*ledger)->next_step() != full_at || (*ledger)->append(ledger_entry_at(full_at), {})) _exit(2);
    setrlimit(RLIMIT_FSIZE, &plenty);
    if (!(*ledger)->append(ledger_entry_at(full_at), observed_at(full_at)) || !(*ledger)->close()) _exit(3);
    _exit(0);
  }
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  const auto ledger = Ledger::open(path, 1);  // which looks at every digest
  if (!ledger) FAIL(ledger.error().message);
  CHECK((*ledger)->expectations() > 10);
}

TEST_CASE("a new ledger overwrites nothing, and a ledger that is being written is nobody else's") {
  const TempDir dir;
  const auto path = dir.path() / "run.sqlite";
  // Locks are a process's: only another one meets them. It is made first, for a connection must not be carried into another process.
  int begin[2];
  REQUIRE(pipe(begin) == 0);
  const auto child = fork();
  if (child == 0) {
    char byte = 0;
    if (read(begin[0], &byte, 1) != 1) _exit(2);
    const auto reader = LedgerReader::open(path);
    const auto writer = Ledger::open(path, 1);
    const bool is_refused = !reader && reader.error().code == ErrorCode::backend_failed && !writer && writer.error().code == ErrorCode::backend_failed &&
                            writer.error().message.find("in use") != std::string::npos;
    _exit(is_refused ? 0 : 1);
  }
  const auto ledger = new_ledger(path, 1);
  CHECK(Ledger::create(path, {}).error().code == ErrorCode::invalid_input);
  CHECK(Ledger::create(dir.path() / "nowhere" / "run.sqlite", {}).error().code == ErrorCode::invalid_input);
  REQUIRE(write(begin[1], "x", 1) == 1);
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  close(begin[0]);
  close(begin[1]);
  REQUIRE(ledger->append(ledger_entry_at(1), {}));
}

namespace {

/// Appends steps in a process of its own, from 0 on, until it is killed; that happens when it has told of `steps` of them.
void append_until_killed(const std::filesystem::path& path, int steps) {
  int progress[2];
  REQUIRE(pipe(progress) == 0);
  const auto child = fork();
  if (child == 0) {
    auto ledger = Ledger::create(path, {.recipe_directory = "/"});
    for (std::uint64_t step = 0; ledger && (*ledger)->append(ledger_entry_at(step), observed_at(step)); ++step) {
      if (write(progress[1], "x", 1) != 1) break;
    }
    _exit(1);
  }
  char byte = 0;
  int told = 0;
  while (told < steps && read(progress[0], &byte, 1) == 1) ++told;
  CHECK(kill(child, SIGKILL) == 0);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(told == steps);
  close(progress[0]);
  close(progress[1]);
}

}  // namespace

TEST_CASE("entries outlive a process that is killed, and the ledger goes on behind them") {
  const TempDir dir;
  const auto path = dir.path() / "run.sqlite";
  append_until_killed(path, 200);
  const auto records = read_ledger(path);
  if (!records) FAIL(records.error().message);
  CHECK(records->size() >= 200);
  for (std::uint64_t step = 0; step < records->size(); ++step) CHECK(is_same_entry((*records)[step].entry, ledger_entry_at(step)));
  auto ledger = Ledger::open(path, records->size());
  if (!ledger) FAIL(ledger.error().message);
  CHECK((*ledger)->digest() == records->back().digest);
  REQUIRE((*ledger)->append(ledger_entry_at(records->size()), {}));
  REQUIRE((*ledger)->close());
  CHECK(std::distance(std::filesystem::directory_iterator(dir.path()), {}) == 1);
}

TEST_CASE("a ledger with a log that somebody else reads or writes is refused when it is opened, and goes on when they have ended") {
  const TempDir dir;
  const auto path = dir.path() / "run.sqlite";
  append_until_killed(path, 3);
  const auto steps = read_ledger(path).value().size();
  for (const std::string use : {"BEGIN; SELECT count(*) FROM batches", "BEGIN IMMEDIATE"}) {
    CAPTURE(use);
    sqlite3* other = nullptr;
    REQUIRE(sqlite3_open(path.c_str(), &other) == SQLITE_OK);
    REQUIRE(sqlite3_exec(other, use.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
    const auto refused = Ledger::open(path, steps);
    // The log stays: whoever ends last would move it into the file, and the next turn would meet none.
    REQUIRE(sqlite3_db_config(other, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr) == SQLITE_OK);
    sqlite3_close(other);
    REQUIRE(!refused);
    CHECK(refused.error().code == ErrorCode::backend_failed);
    CHECK(error_says(refused.error().message, path.string() + " is in use by another process"));
  }
  REQUIRE(std::filesystem::file_size(path.string() + "-wal") > 0);
  const auto ledger = Ledger::open(path, steps);
  REQUIRE_MESSAGE(ledger, ledger.error().message);
  CHECK((*ledger)->append(ledger_entry_at(steps), {}));
}

TEST_CASE("a ledger goes on without shared memory, which some file systems lack") {
  const TempDir dir;
  const auto path = dir.path() / "run.sqlite";
  append_until_killed(path, 3);
  REQUIRE(!std::filesystem::exists(path.string() + "-shm"));
  const auto ledger = Ledger::open(path, 3);
  REQUIRE_MESSAGE(ledger, ledger.error().message);
  CHECK(!std::filesystem::exists(path.string() + "-shm"));
}

TEST_CASE("a process that is killed while it turns the log off leaves a ledger that can be read, and that goes on") {
  const TempDir dir;
  const std::uint64_t steps = 200;
  const auto whole = closed_ledger(dir, steps, "whole.sqlite");
  // A transaction that had to write to the file before its end; what a kill would leave then is copied.
  sqlite3* database = nullptr;
  REQUIRE(sqlite3_open(whole.c_str(), &database) == SQLITE_OK);
  REQUIRE(sqlite3_exec(database, "PRAGMA cache_size = 1; BEGIN; UPDATE batches SET observed_time_ns = 7, datum_digest = 'changed'", nullptr, nullptr, nullptr) == SQLITE_OK);
  const auto leave = [&](const std::string& name) {
    for (const char* end : {"", "-journal"}) std::filesystem::copy_file(whole.string() + end, (dir.path() / (name + end)), std::filesystem::copy_options::overwrite_existing);
    return dir.path() / name;
  };
  const auto read = leave("read.sqlite"), continued = leave("continued.sqlite"), untouched = leave("untouched.sqlite");
  sqlite3_close(database);

  REQUIRE(sqlite3_open_v2(untouched.c_str(), &database, SQLITE_OPEN_READONLY, nullptr) == SQLITE_OK);
  REQUIRE(sqlite3_exec(database, "SELECT count(*) FROM batches", nullptr, nullptr, nullptr) == SQLITE_READONLY);  // or this test shows nothing
  sqlite3_close(database);

  const auto records = read_ledger(read);
  REQUIRE_MESSAGE(records, records.error().message);
  REQUIRE(records->size() == steps);
  for (std::uint64_t step = 0; step < steps; ++step) CHECK(is_same_entry((*records)[step].entry, ledger_entry_at(step)));
  CHECK(!std::filesystem::exists(read.string() + "-journal"));
  auto ledger = Ledger::open(continued, steps);
  REQUIRE_MESSAGE(ledger, ledger.error().message);
  REQUIRE((*ledger)->append(ledger_entry_at(steps), observed_at(steps)));
  REQUIRE((*ledger)->close());
}

TEST_CASE("a sync that the disk refuses is told, and one that it grants covers the log") {
  const TempDir dir;
  const auto ledger = new_ledger(dir.path() / "run.sqlite", 3);
  CHECK(ledger->sync());
  std::filesystem::copy_file(dir.path() / "run.sqlite", dir.path() / "copy.sqlite");
  std::filesystem::copy_file(dir.path() / "run.sqlite-wal", dir.path() / "copy.sqlite-wal");
  CHECK(read_ledger(dir.path() / "copy.sqlite").value().size() == 3);  // these two hold all
  ::setenv("PIPESTILL_FAULT", "file.sync=EIO", 1);
  forget_fault_plan();
  const auto refused = ledger->sync();
  ::unsetenv("PIPESTILL_FAULT");
  forget_fault_plan();
  REQUIRE(!refused);
  CHECK(refused.error().code == ErrorCode::backend_failed);
  CHECK(refused.error().message.find("run.sqlite-wal") != std::string::npos);
}

TEST_CASE("entries from the cursor on are expectations: what is computed again must be as they say") {
  const TempDir dir;
  const auto path = closed_ledger(dir, 6);
  const auto before = read_ledger(path).value();
  {
    auto opened = Ledger::open(path, 4);
    if (!opened) FAIL(opened.error().message);
    auto& ledger = **opened;
    CHECK(ledger.next_step() == 4);
    CHECK(ledger.expectations() == 2);
    CHECK(ledger.digest() == before[3].digest);
    CHECK(is_same_entry(ledger.read(5).value().entry, ledger_entry_at(5)));

    auto other = ledger_entry_at(4);
    other.rows[0].num_tokens = 12;
    const auto refused = ledger.append(other, {});
    REQUIRE(!refused);
    CHECK(refused.error().code == ErrorCode::backend_failed);
    CHECK(error_says(refused.error().message, "step 4 was computed before"));
    CHECK(error_says(refused.error().message, "rows[0].num_tokens 11, and now it is 12"));
    CHECK(ledger.next_step() == 4);

    auto moved = ledger_entry_at(4);
    moved.rows[0].teacher = "elsewhere";  // a place is no result
    auto again = observed_at(4);
    again.teacher_latency = nanoseconds(5);
    again.tokens_paid = 100;
    REQUIRE(ledger.append(moved, again));
    CHECK(ledger.digest() == before[4].digest);
    REQUIRE(ledger.append(ledger_entry_at(5), observed_at(5)));
    CHECK(ledger.expectations() == 0);
    REQUIRE(ledger.append(ledger_entry_at(6), observed_at(6)));  // new ground
    REQUIRE(ledger.close());
  }
  const auto after = read_ledger(path).value();
  REQUIRE(after.size() == 7);
  for (std::size_t step = 0; step < 6; ++step) {
    CHECK(is_same_entry(after[step].entry, before[step].entry));
    CHECK(after[step].digest == before[step].digest);
  }
  CHECK(after[4].observed.teacher_latency == nanoseconds(5));  // the times of the batch that counts
  CHECK(after[4].observed.attempts == 4);                      // and what both have cost
  CHECK(after[4].observed.tokens_paid == 100);
  CHECK(after[3].observed == before[3].observed);
}

TEST_CASE("a ledger is opened at any step that it has, and at none behind its end") {
  const TempDir dir;
  const auto path = closed_ledger(dir, 2);
  const auto records = read_ledger(path).value();
  for (const std::uint64_t cursor : {0u, 1u, 2u}) {
    const auto opened = Ledger::open(path, cursor);
    if (!opened) FAIL(opened.error().message);
    CHECK((*opened)->digest() == (cursor == 0 ? empty_ledger_digest() : records[cursor - 1].digest));
  }
  CHECK(error_says(ledger_refusal(path, 3), "ends before step 2"));
  CHECK(error_says(ledger_refusal(dir.path() / "missing.sqlite"), "there is no ledger"));
}

TEST_CASE("what is no ledger, is of another version or does not hold together is refused, by name and reason") {
  const TempDir dir;
  CHECK(error_says(ledger_refusal(dir.write("text.sqlite", std::string(5000, 'x'))), "no SQLite database"));
  CHECK(error_says(ledger_refusal(dir.write("empty.sqlite", "")), "it is empty"));
  const auto foreign = dir.path() / "foreign.sqlite";
  change_database(foreign, "CREATE TABLE batches (step)");
  CHECK(error_says(ledger_refusal(foreign), "another one"));

  const std::vector<std::pair<std::string, std::string>> changes{
      {"PRAGMA user_version = 2", "its version is 2, and this program reads version 1"},
      {"PRAGMA application_id = 1", "another one"},
      {"CREATE TABLE more (x)", "holds more than its tables"},
      {"CREATE TRIGGER t AFTER INSERT ON batches BEGIN DELETE FROM rows; END", "holds more than its tables"},
      {"CREATE VIEW v AS SELECT 1", "holds more than its tables"},
      {"ALTER TABLE batches ADD COLUMN x INTEGER", "its tables are others"},
      {"DROP TABLE rows", "its tables are others"},
      {"DELETE FROM batches WHERE step = 1", "step 1 is missing"},
      {"DELETE FROM batches WHERE step = 0", "step 0 is missing"},
      {"DELETE FROM batches WHERE step = 2", "step 2 has rows and no batch"},
      {"UPDATE batches SET step = 5 WHERE step = 2", "step 2 is missing"},
      {"UPDATE batches SET step = -1 WHERE step = 1", "step 1 is missing"},
      {"DELETE FROM rows WHERE step = 1 AND place = 0", "step 1: row 0 of the batch is missing"},
      {"UPDATE rows SET place = -1 WHERE step = 1 AND place = 0", "place is no count"},
      {"DELETE FROM rows WHERE step = 1 AND place = 1", "step 1: its digest"},
      {"UPDATE batches SET distill_loss = distill_loss + 1e-9 WHERE step = 1", "step 1: its digest"},
      {"UPDATE batches SET distill_loss = 'lower' WHERE step = 1", "step 1: distill_loss is no number"},
      {"UPDATE batches SET learning_rate = x'0000000000000000' WHERE step = 1", "step 1: learning_rate is no number"},
      {"UPDATE batches SET digest = x'00' WHERE step = 1", "step 1: digest is no SHA-256"},
      {"UPDATE batches SET num_tokens = -1 WHERE step = 1", "step 1: num_tokens is no count"},
      {"UPDATE rows SET content = x'' WHERE step = 1", "content is no SHA-256"},
      {"UPDATE rows SET outcome = 'kept' WHERE step = 1 AND place = 0", "step 1: its digest"},
  };
  for (std::size_t i = 0; i < changes.size(); ++i) {
    const auto path = closed_ledger(dir, 3, "changed" + std::to_string(i) + ".sqlite");
    REQUIRE(ledger_refusal(path) == "accepted");
    change_database(path, changes[i].first);
    INFO(changes[i].first);
    CHECK(error_says(ledger_refusal(path), changes[i].second));
  }
  const auto path = closed_ledger(dir, 3, "stray.sqlite");
  change_database(path, "DELETE FROM batches WHERE step = 2");
  CHECK(LedgerReader::open(path).value().step_without_batch().value() == 2);
  const auto far = closed_ledger(dir, 3, "far.sqlite");
  change_database(far, "UPDATE batches SET step = 9223372036854775807 WHERE step = 2; UPDATE rows SET step = 9223372036854775807 WHERE step = 2");
  CHECK(read_ledger(far).value().size() == 3);
}

TEST_CASE("a file that is cut off or changed anywhere is refused, or read as far as it is right") {
  const TempDir dir;
  const auto path = closed_ledger(dir, 40);
  const auto whole = testing::read_file(path);
  const auto right = read_ledger(path).value();
  REQUIRE(whole.size() > 8192);
  const auto damaged = dir.path() / "damaged.sqlite";
  int refused = 0, read = 0;
  // The reader checks no digests: whoever uses it does (Ledger::open(), the audit). Here it is enough that nothing breaks, and that what a digest covers
  // is noticed by it.
  const auto look_at = [&](const std::string& bytes) {
    for (const auto* left : {"-wal", "-shm", "-journal"}) std::filesystem::remove(damaged.string() + left);
    dir.write("damaged.sqlite", bytes);
    const auto records = read_ledger(damaged);
    const auto opened = Ledger::open(damaged, 0);
    if (!opened) {
      ++refused;
      CHECK(!opened.error().message.empty());
      CHECK(opened.error().code != ErrorCode::internal);
      return;
    }
    ++read;
    REQUIRE(records);
    REQUIRE(records->size() <= right.size());
    for (std::size_t i = 0; i < records->size(); ++i) CHECK(!first_difference((*records)[i].entry, right[i].entry));
  };
  for (std::size_t length = 0; length < whole.size(); length += 509) look_at(whole.substr(0, length));
  CHECK(read == 0);
  for (std::size_t at = 0; at < whole.size(); at += 61) {
    auto bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << at % 8));
    look_at(bytes);
  }
  CHECK(refused > 0);
  CHECK(read > 0);  // what was observed, and what no page uses, is nobody's promise
}

TEST_CASE("a log that is cut off or changed anywhere gives the entries before that place") {
  const TempDir dir;
  append_until_killed(dir.path() / "killed.sqlite", 12);
  const auto file = testing::read_file(dir.path() / "killed.sqlite"), log = testing::read_file(dir.path() / "killed.sqlite-wal");
  REQUIRE(!log.empty());
  const auto damaged = dir.path() / "damaged.sqlite";
  std::set<std::size_t> lengths;
  const auto look_at = [&](const std::string& bytes) {
    std::filesystem::remove(damaged.string() + "-shm");
    dir.write("damaged.sqlite", file);
    dir.write("damaged.sqlite-wal", bytes);
    const auto opened = Ledger::open(damaged, 0);
    if (!opened) {
      CHECK(opened.error().code == ErrorCode::invalid_input);  // nothing of it was in the file yet
      return;
    }
    lengths.insert((*opened)->expectations());
    for (std::uint64_t step = 0; step < (*opened)->expectations(); ++step) {
      CHECK(is_same_entry((*opened)->read(step).value().entry, ledger_entry_at(step)));
    }
  };
  look_at(log);
  REQUIRE(lengths.size() == 1);
  CHECK(*lengths.begin() >= 12);
  for (std::size_t at = 0; at < log.size(); at += log.size() / 50 + 1) {
    look_at(log.substr(0, at));
    auto bytes = log;
    bytes[at] = static_cast<char>(bytes[at] ^ 1);
    look_at(bytes);
  }
  CHECK(lengths.size() > 3);
}
