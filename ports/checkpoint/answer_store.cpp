#include "ports/checkpoint/answer_store.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "ports/checkpoint/sqlite_database.hpp"
#include "ports/fault_point.hpp"

namespace pipestill {
namespace {

// Keys are random, and an index of them that is kept with every commit would write a page for each answer. So answers stand one behind the other, and `places`
// says where, up to the answer whose id is in `placed`; those behind it are few, and known by every store that is open.
constexpr std::array kAnswerTables{
    "CREATE TABLE answers (id INTEGER PRIMARY KEY, key BLOB NOT NULL, kind TEXT NOT NULL, payload BLOB NOT NULL, checksum BLOB NOT NULL) STRICT",
    "CREATE TABLE places (key BLOB PRIMARY KEY, id INTEGER NOT NULL) WITHOUT ROWID, STRICT",
    "CREATE TABLE placed (id INTEGER PRIMARY KEY CHECK (id = 0), up_to INTEGER NOT NULL) STRICT",
};
constexpr std::size_t kChecksumBytes = 16;
constexpr std::size_t kMostInAGroup = 4096;
constexpr std::size_t kMostUnplaced = 4096;

SqliteDatabase::Identity answers_identity() { return {.application_id = 0x70736173, .version = 1, .name = "answer store", .most_value_bytes = 1 << 28, .tables = kAnswerTables}; }  // "psas"

std::string checksum_of(std::string_view key, std::string_view kind, std::string_view payload) {
  Sha256 hash;
  const auto digest = hash.field(key).field(kind).field(payload).finish();
  return std::string(digest_bytes(digest).substr(0, kChecksumBytes));
}

Error of_storage(Error error) {
  error.code = ErrorCode::storage_failed;
  return error;
}

/// A row of key, kind, payload, checksum: its answer, whose payload is empty where it is damaged.
StoredAnswer answer_in(const SqliteStatement& row) {
  StoredAnswer answer{.kind = row.text(1).value_or("")};
  const auto key = row.blob(0).value_or("");
  std::copy_n(key.begin(), std::min(key.size(), answer.key.size()), answer.key.begin());
  auto payload = row.blob(2);
  const auto checksum = row.blob(3);
  if (key.size() == answer.key.size() && payload && checksum && *checksum == checksum_of(key, answer.kind, *payload)) answer.payload = std::move(payload);
  return answer;
}

bool is_answer_to(const std::optional<StoredAnswer>& answer, const Sha256Digest& key, std::string_view kind) {
  return answer && answer->payload && answer->key == key && answer->kind == kind;
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
  struct HashOfKey {
    /// Any eight bytes of a SHA-256 are as good as its others.
    std::size_t operator()(const Sha256Digest& key) const { return std::bit_cast<std::array<std::uint64_t, 4>>(key)[0]; }
  };
  using PlaceOf = std::unordered_map<Sha256Digest, std::int64_t, HashOfKey>;

  struct Statements {
    SqliteStatement read, unplaced, placed_up_to, place;
    std::optional<SqliteStatement> insert, replace, put_place, put_placed;  // empty: nothing is written
  };

  State(SqliteDatabase d, Statements s) : database(std::move(d)), sql(std::move(s)) {}

  static Result<std::shared_ptr<State>> over(SqliteDatabase database, bool is_written) {
    Result<void> prepared;
    const auto prepare = [&](const char* text) -> std::optional<SqliteStatement> {
      if (!prepared) return std::nullopt;
      auto statement = database.prepare(text);
      if (statement) return *std::move(statement);
      prepared = fail(std::move(statement.error()));
      return std::nullopt;
    };
    auto read = prepare("SELECT key, kind, payload, checksum FROM answers WHERE id = ?1"), unplaced = prepare("SELECT id, key FROM answers WHERE id > ?1 ORDER BY id"),
         placed_up_to = prepare("SELECT up_to FROM placed"), place = prepare("SELECT id FROM places WHERE key = ?1");
    std::optional<SqliteStatement> insert, replace, put_place, put_placed;
    if (is_written) {
      insert = prepare("INSERT INTO answers (key, kind, payload, checksum) VALUES (?1, ?2, ?3, ?4)");
      replace = prepare("REPLACE INTO answers (key, kind, payload, checksum, id) VALUES (?1, ?2, ?3, ?4, ?5)");
      put_place = prepare("REPLACE INTO places VALUES (?1, ?2)"), put_placed = prepare("REPLACE INTO placed VALUES (0, ?1)");
    }
    if (!prepared) return fail(std::move(prepared.error()));
    return std::make_shared<State>(std::move(database), Statements{*std::move(read), *std::move(unplaced), *std::move(placed_up_to), *std::move(place), std::move(insert),
                                                                   std::move(replace), std::move(put_place), std::move(put_placed)});
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
    std::vector<Lookup*> lookups;
    for (auto& work : group) {
      if (auto* commit = std::get_if<Commit>(&work)) commits.push_back(commit);
      else if (auto* lookup = std::get_if<Lookup>(&work)) lookups.push_back(lookup);
    }
    if (!commits.empty()) commit_all(commits);
    if (!lookups.empty()) find_all(lookups);
    for (auto& work : group) {
      if (auto* task = std::get_if<std::function<void()>>(&work)) (*task)();
    }
    // Nobody waits for this. If the disk fails now, the next commit will say so.
    if (sql.insert && unplaced.size() >= kMostUnplaced) (void)put_places();
  }

  void find_all(const std::vector<Lookup*>& lookups) {
    std::vector<Result<std::optional<std::string>>> found;
    Counts more;
    const auto read = database.in_snapshot([&]() -> Result<void> {
      if (auto known = learn(); !known) return known;
      for (const auto* lookup : lookups) {
        const auto place = place_of(lookup->key);
        if (!place) return fail(place.error());
        if (!*place) {
          found.emplace_back(std::nullopt);
          continue;
        }
        auto answer = answer_at(**place);
        if (!answer) return fail(std::move(answer.error()));
        const bool is_sound = is_answer_to(*answer, lookup->key, lookup->kind);
        ++(is_sound ? more.found : more.damaged);
        found.push_back(is_sound ? std::move((*answer)->payload) : std::nullopt);
      }
      return {};
    });
    {
      std::lock_guard lock(mutex);
      counts.found += more.found, counts.damaged += more.damaged;
    }
    for (std::size_t i = 0; i < lookups.size(); ++i) {
      if (read) lookups[i]->then(std::move(found[i]));
      else lookups[i]->then(fail(of_storage(read.error())));
    }
  }

  void commit_all(const std::vector<Commit*>& commits) {
    std::vector<std::string> kept;
    PlaceOf added;
    auto done = database.in_transaction([&]() -> Result<void> {
      if (const int error = fault_point("answers.before_commit")) return fail(ErrorCode::storage_failed, "cannot write to " + database.path().string() + ": " + std::generic_category().message(error));
      if (auto known = learn(); !known) return known;
      for (auto* commit : commits) {
        auto written = put(*commit, added);
        if (!written) return fail(std::move(written.error()));
        kept.push_back(*std::move(written));
      }
      return {};
    });
    fault_point("answers.after_commit");
    if (done) {
      for (const auto& [key, id] : added) known_up_to = std::max(known_up_to, id);
      unplaced.merge(added);
      std::lock_guard lock(mutex);
      counts.committed += commits.size();
    }
    for (std::size_t i = 0; i < commits.size(); ++i) {
      if (done) commits[i]->then(std::move(kept[i]));
      else commits[i]->then(fail(of_storage(done.error())));
    }
  }

  /// In a transaction: what other processes have committed since, and which answers `places` knows by now.
  Result<void> learn() {
    const auto more = sql.placed_up_to.step();
    if (!more) return fail(more.error());
    const auto up_to = *more ? sql.placed_up_to.integer(0).value_or(0) : 0;
    if (auto ended = sql.placed_up_to.run(); !ended) return ended;
    if (up_to > placed_up_to) {
      placed_up_to = up_to, known_up_to = std::max(known_up_to, up_to);
      std::erase_if(unplaced, [&](const auto& answer) { return answer.second <= up_to; });
    }
    sql.unplaced.bind(1, known_up_to);
    for (;;) {
      const auto another = sql.unplaced.step();
      if (!another) return fail(another.error());
      if (!*another) return {};
      known_up_to = sql.unplaced.integer(0).value_or(known_up_to);
      const auto key = sql.unplaced.blob(1).value_or("");
      Sha256Digest digest{};
      if (key.size() != digest.size()) continue;  // damaged, and no answer to anything
      std::copy(key.begin(), key.end(), digest.begin());
      unplaced.try_emplace(digest, known_up_to);
    }
  }

  /// In a transaction that has learnt.
  Result<std::optional<std::int64_t>> place_of(const Sha256Digest& key) {
    if (const auto known = unplaced.find(key); known != unplaced.end()) return known->second;
    if (placed_up_to == 0) return std::nullopt;
    const auto more = sql.place.bind_blob(1, digest_bytes(key)).step();
    if (!more) return fail(more.error());
    if (!*more) return std::nullopt;
    const auto id = sql.place.integer(0);
    if (auto ended = sql.place.run(); !ended) return fail(std::move(ended.error()));
    return id;
  }

  /// Nothing: no row stands there.
  Result<std::optional<StoredAnswer>> answer_at(std::int64_t id) {
    const auto more = sql.read.bind(1, id).step();
    if (!more) return fail(more.error());
    if (!*more) return std::nullopt;
    auto answer = answer_in(sql.read);
    if (auto ended = sql.read.run(); !ended) return fail(std::move(ended.error()));
    return answer;
  }

  /// What the file holds under the key now; `added`: the answers that this transaction has inserted.
  Result<std::string> put(const Commit& commit, PlaceOf& added) {
    auto place = place_of(commit.key);
    if (!place) return fail(std::move(place.error()));
    if (const auto again = added.find(commit.key); again != added.end()) *place = again->second;
    if (*place) {
      auto kept = answer_at(**place);
      if (!kept) return fail(std::move(kept.error()));
      if (is_answer_to(*kept, commit.key, commit.kind)) return *std::move((*kept)->payload);
      if (*kept && (*kept)->payload && (*kept)->key != commit.key) place->reset();  // `places` is wrong, and the answer there somebody else's
    }
    const auto key = digest_bytes(commit.key);
    auto& write = *place ? *sql.replace : *sql.insert;
    write.bind_blob(1, key).bind(2, std::string_view(commit.kind)).bind_blob(3, commit.payload).bind_blob(4, checksum_of(key, commit.kind, commit.payload));
    if (*place) write.bind(5, **place);
    if (auto written = write.run(); !written) return fail(std::move(written.error()));
    if (*place) return commit.payload;
    // Behind all others, or nobody would look for it there: SQLite fills gaps when the numbers are used up.
    if (database.last_inserted() <= known_up_to) return fail(ErrorCode::storage_failed, database.path().string() + " is damaged: the numbers of its answers are used up");
    added.emplace(commit.key, database.last_inserted());
    return commit.payload;
  }

  Result<void> put_places() {
    fault_point("answers.before_places");
    auto done = database.in_transaction([&]() -> Result<void> {
      if (auto known = learn(); !known) return known;
      const std::map<Sha256Digest, std::int64_t> in_order(unplaced.begin(), unplaced.end());  // neighbours share a page
      for (const auto& [key, id] : in_order) {
        if (auto put = sql.put_place->bind_blob(1, digest_bytes(key)).bind(2, id).run(); !put) return put;
      }
      return sql.put_placed->bind(1, known_up_to).run();
    });
    fault_point("answers.after_places");
    if (done) unplaced.clear(), placed_up_to = known_up_to;
    return done;
  }

  SqliteDatabase database;
  Statements sql;
  // The store's own thread's:
  PlaceOf unplaced;  // answers behind placed_up_to, up to known_up_to
  std::int64_t placed_up_to = 0, known_up_to = 0;
  std::mutex mutex;  // guards the four below
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
  auto rows = database->prepare("SELECT key, kind, payload, checksum FROM answers ORDER BY id");
  if (!rows) return fail(std::move(rows.error()));
  for (;;) {
    const auto more = rows->step();
    if (!more) return fail(more.error());
    if (!*more) return {};
    to(answer_in(*rows));
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
  auto answers = database->prepare("SELECT kind, length(payload) FROM answers");  // grouping would copy every payload
  if (!answers) return fail(std::move(answers.error()));
  for (;;) {
    const auto more = answers->step();
    if (!more) return fail(more.error());
    if (!*more) return stats;
    ++stats.answers;
    ++stats.by_kind[answers->text(0).value_or("")];
    stats.bytes += static_cast<std::uint64_t>(answers->integer(1).value_or(0));
  }
}

}  // namespace pipestill
