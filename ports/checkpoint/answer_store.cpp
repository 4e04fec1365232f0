#include "ports/checkpoint/answer_store.hpp"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "ports/checkpoint/sqlite_database.hpp"
#include "ports/fault_point.hpp"

namespace pipestill {
namespace {

// Keys are random: an index of keys alone is small enough to stay in few pages, and the answers stand one behind the other.
constexpr std::array kAnswerTables{
    "CREATE TABLE answers (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, kind TEXT NOT NULL, payload BLOB NOT NULL, checksum BLOB NOT NULL) STRICT"};
constexpr std::size_t kChecksumBytes = 16;
constexpr std::size_t kMostInAGroup = 4096;

SqliteDatabase::Identity answers_identity() { return {.application_id = 0x70736173, .version = 1, .name = "answer store", .most_value_bytes = 1 << 28, .tables = kAnswerTables}; }  // "psas"

std::string checksum_of(std::string_view key, std::string_view kind, std::string_view payload) {
  Sha256 hash;
  const auto digest = hash.field(key).field(kind).field(payload).finish();
  return std::string(digest_bytes(digest).substr(0, kChecksumBytes));
}

Error of_storage(Error error) {
  if (error.code == ErrorCode::backend_failed) error.code = ErrorCode::storage_failed;
  return error;
}

/// A row as it was read: the payload, or nothing where it is damaged.
std::optional<std::string> sound_payload(const SqliteStatement& row, std::string_view key, const std::string& kind, int payload_column) {
  auto payload = row.blob(payload_column);
  const auto checksum = row.blob(payload_column + 1);
  if (!payload || !checksum || *checksum != checksum_of(key, kind, *payload)) return std::nullopt;
  return payload;
}

}  // namespace

struct AnswerStore::State {
  struct Lookup {
    Sha256Digest key;
    std::string kind;
    Found then;
  };
  struct Commit {
    Sha256Digest key;
    std::string kind, payload;
    Committed then;
  };
  using Work = std::variant<Lookup, Commit, std::function<void()>>;

  State(SqliteDatabase d, SqliteStatement s, std::optional<SqliteStatement> i, std::optional<SqliteStatement> r)
      : database(std::move(d)), select(std::move(s)), insert(std::move(i)), replace(std::move(r)) {}

  static Result<std::shared_ptr<State>> over(SqliteDatabase database, bool is_written) {
    auto select = database.prepare("SELECT payload, checksum FROM answers WHERE key = ?1 AND kind = ?2");
    if (!select) return fail(std::move(select.error()));
    std::optional<SqliteStatement> insert, replace;
    if (is_written) {
      auto first = database.prepare("INSERT OR IGNORE INTO answers (key, kind, payload, checksum) VALUES (?1, ?2, ?3, ?4)");
      if (!first) return fail(std::move(first.error()));
      auto again = database.prepare("REPLACE INTO answers (key, kind, payload, checksum) VALUES (?1, ?2, ?3, ?4)");
      if (!again) return fail(std::move(again.error()));
      insert = *std::move(first), replace = *std::move(again);
    }
    return std::make_shared<State>(std::move(database), *std::move(select), std::move(insert), std::move(replace));
  }

  void post(Work work) {
    {
      std::lock_guard lock(mutex);
      waiting.push_back(std::move(work));
    }
    has_work.notify_one();
  }

  void run() {
    for (;;) {
      std::deque<Work> group;
      {
        std::unique_lock lock(mutex);
        has_work.wait(lock, [&] { return !waiting.empty() || is_ending; });
        if (waiting.empty()) return;
        const auto count = std::min(waiting.size(), kMostInAGroup);
        group.assign(std::make_move_iterator(waiting.begin()), std::make_move_iterator(waiting.begin() + static_cast<std::ptrdiff_t>(count)));
        waiting.erase(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(count));
      }
      serve(group);
    }
  }

  /// Commits first, in one transaction: who waits for an answer waits no longer than for this.
  void serve(std::deque<Work>& group) {
    std::vector<Commit*> commits;
    for (auto& work : group) {
      if (auto* commit = std::get_if<Commit>(&work)) commits.push_back(commit);
    }
    if (!commits.empty()) commit_all(commits);
    std::vector<std::pair<Lookup*, Result<std::optional<std::string>>>> found;
    const auto look = [&] {
      for (auto& work : group) {
        if (auto* lookup = std::get_if<Lookup>(&work)) found.emplace_back(lookup, look_up(*lookup));
      }
    };
    if (auto read = database.in_snapshot(look); !read) {
      for (auto& [lookup, result] : found) result = fail(of_storage(read.error()));
    }
    for (auto& [lookup, result] : found) lookup->then(std::move(result));
    for (auto& work : group) {
      if (auto* task = std::get_if<std::function<void()>>(&work)) (*task)();
    }
  }

  Result<std::optional<std::string>> look_up(const Lookup& lookup) {
    bool is_damaged = false;
    auto payload = read(lookup.key, lookup.kind, is_damaged);
    if (!payload) return fail(of_storage(std::move(payload.error())));
    std::lock_guard lock(mutex);
    counts.found += *payload ? 1 : 0;
    counts.damaged += is_damaged ? 1 : 0;
    return payload;
  }

  Result<std::optional<std::string>> read(const Sha256Digest& key, const std::string& kind, bool& is_damaged) {
    const auto more = select.bind_blob(1, digest_bytes(key)).bind(2, std::string_view(kind)).step();
    if (!more) return fail(more.error());
    if (!*more) return std::optional<std::string>();
    auto payload = sound_payload(select, digest_bytes(key), kind, 0);
    is_damaged = !payload;
    while (true) {  // the statement is let go of
      const auto end = select.step();
      if (!end) return fail(end.error());
      if (!*end) break;
    }
    return payload;
  }

  void commit_all(const std::vector<Commit*>& commits) {
    std::vector<std::string> kept(commits.size());
    fault_point("answers.before_commit");
    auto done = database.in_transaction([&]() -> Result<void> {
      for (std::size_t i = 0; i < commits.size(); ++i) {
        auto written = put(*commits[i]);
        if (!written) return fail(std::move(written.error()));
        kept[i] = *std::move(written);
      }
      return {};
    });
    fault_point("answers.after_commit");
    if (done) {
      std::lock_guard lock(mutex);
      counts.committed += commits.size();
    }
    for (std::size_t i = 0; i < commits.size(); ++i) {
      if (done) commits[i]->then(std::move(kept[i]));
      else commits[i]->then(fail(of_storage(done.error())));
    }
  }

  Result<std::string> put(const Commit& commit) {
    const auto key = digest_bytes(commit.key);
    const auto write = [&](SqliteStatement& statement) {
      return statement.bind_blob(1, key).bind(2, std::string_view(commit.kind)).bind_blob(3, commit.payload).bind_blob(4, checksum_of(key, commit.kind, commit.payload)).run();
    };
    if (auto inserted = write(*insert); !inserted) return fail(std::move(inserted.error()));
    if (database.changes() == 1) return commit.payload;  // the file holds this one
    bool is_damaged = false;
    auto kept = read(commit.key, commit.kind, is_damaged);
    if (!kept) return fail(std::move(kept.error()));
    if (*kept) return **std::move(kept);
    if (auto replaced = write(*replace); !replaced) return fail(std::move(replaced.error()));
    return commit.payload;
  }

  SqliteDatabase database;
  SqliteStatement select;
  std::optional<SqliteStatement> insert, replace;  // empty: nothing is written
  std::mutex mutex;                                // guards the four below
  std::condition_variable has_work;
  std::deque<Work> waiting;
  bool is_ending = false;
  Counts counts;
  std::thread thread;
};

AnswerStore::AnswerStore(std::shared_ptr<State> state) : state_(std::move(state)) {
  state_->thread = std::thread([state = state_] { state->run(); });
}

AnswerStore::~AnswerStore() {
  {
    std::lock_guard lock(state_->mutex);
    state_->is_ending = true;
  }
  state_->has_work.notify_one();
  // The last owner may be somebody whom the store's own thread called.
  if (state_->thread.get_id() == std::this_thread::get_id()) state_->thread.detach();
  else state_->thread.join();
}

Result<std::shared_ptr<AnswerStore>> AnswerStore::open(const std::filesystem::path& path, Durability durability) {
  auto database = SqliteDatabase::open(path, SqliteDatabase::Mode::shared, answers_identity());
  if (!database) return fail(std::move(database.error()));
  // Moving the log into the file waits for the disk; that is worth it every 16 MiB.
  if (auto set = database->execute("PRAGMA wal_autocheckpoint = 4096"); !set) return fail(std::move(set.error()));
  if (durability == Durability::power) {
    if (auto set = database->execute("PRAGMA synchronous = FULL"); !set) return fail(std::move(set.error()));
  }
  auto state = State::over(*std::move(database), true);
  if (!state) return fail(std::move(state.error()));
  return std::shared_ptr<AnswerStore>(new AnswerStore(*std::move(state)));
}

Result<std::shared_ptr<AnswerStore>> AnswerStore::open_read_only(const std::filesystem::path& path) {
  auto database = SqliteDatabase::open(path, SqliteDatabase::Mode::read_only, answers_identity());
  if (!database) return fail(std::move(database.error()));
  auto state = State::over(*std::move(database), false);
  if (!state) return fail(std::move(state.error()));
  return std::shared_ptr<AnswerStore>(new AnswerStore(*std::move(state)));
}

void AnswerStore::find(const Sha256Digest& key, std::string kind, Found then) { state_->post(State::Lookup{key, std::move(kind), std::move(then)}); }
void AnswerStore::commit(const Sha256Digest& key, std::string kind, std::string payload, Committed then) {
  state_->post(State::Commit{key, std::move(kind), std::move(payload), std::move(then)});
}
void AnswerStore::post(std::function<void()> task) { state_->post(std::move(task)); }

AnswerStore::Counts AnswerStore::counts() const {
  std::lock_guard lock(state_->mutex);
  return state_->counts;
}

const std::filesystem::path& AnswerStore::path() const { return state_->database.path(); }

Result<void> read_answers(const std::filesystem::path& path, const std::function<void(const StoredAnswer&)>& to) {
  auto database = SqliteDatabase::open(path, SqliteDatabase::Mode::read_only, answers_identity());
  if (!database) return fail(std::move(database.error()));
  auto rows = database->prepare("SELECT key, kind, payload, checksum FROM answers ORDER BY key");
  if (!rows) return fail(std::move(rows.error()));
  for (;;) {
    const auto more = rows->step();
    if (!more) return fail(more.error());
    if (!*more) return {};
    StoredAnswer answer{.kind = rows->text(1).value_or("")};
    const auto key = rows->blob(0).value_or("");
    std::copy_n(key.begin(), std::min(key.size(), answer.key.size()), answer.key.begin());
    if (key.size() == answer.key.size()) answer.payload = sound_payload(*rows, key, answer.kind, 2);
    to(answer);
  }
}

Result<AnswerStoreStats> answer_store_stats(const std::filesystem::path& path, bool reads_all) {
  AnswerStoreStats stats;
  if (reads_all) {
    auto read = read_answers(path, [&](const StoredAnswer& answer) {
      ++stats.answers;
      if (!answer.payload) return void(++stats.damaged);
      ++stats.by_kind[answer.kind];
      stats.bytes += answer.payload->size();
    });
    if (!read) return fail(std::move(read.error()));
    return stats;
  }
  auto database = SqliteDatabase::open(path, SqliteDatabase::Mode::read_only, answers_identity());
  if (!database) return fail(std::move(database.error()));
  auto counts = database->prepare("SELECT kind, count(*), sum(length(payload)) FROM answers GROUP BY kind");
  if (!counts) return fail(std::move(counts.error()));
  for (;;) {
    const auto more = counts->step();
    if (!more) return fail(more.error());
    if (!*more) return stats;
    const auto count = static_cast<std::uint64_t>(counts->integer(1).value_or(0));
    stats.answers += count;
    stats.by_kind[counts->text(0).value_or("")] += count;
    stats.bytes += static_cast<std::uint64_t>(counts->integer(2).value_or(0));
  }
}

}  // namespace pipestill
