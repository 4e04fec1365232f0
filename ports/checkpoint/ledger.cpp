#include "ports/checkpoint/ledger.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "ports/checkpoint/sqlite_database.hpp"
#include "ports/fault_point.hpp"

namespace pipestill {
namespace {

constexpr std::size_t kMostLedgerRows = 65'536;  // of a batch: what training.batch_size may be

// STRICT: SQLite itself refuses a value of another type. Numbers with a fraction are ANY, which SQLite stores as they are: a column of type REAL
// would turn -0.0 into 0; a NaN, which SQLite has no number for, is a BLOB of its eight bytes.
constexpr std::array kLedgerTables{
    "CREATE TABLE origin (\n"
    "  recipe_directory TEXT NOT NULL\n"
    ") STRICT",
    "CREATE TABLE batches (\n"
    "  step INTEGER PRIMARY KEY,\n"
    "  epoch INTEGER NOT NULL,\n"
    "  batch INTEGER NOT NULL,\n"
    "  student_version INTEGER,\n"
    "  num_tokens INTEGER NOT NULL,\n"
    "  datum_digest TEXT NOT NULL,\n"
    "  learning_rate ANY NOT NULL,\n"
    "  distill_loss ANY,\n"
    "  grad_norm ANY,\n"
    "  digest BLOB NOT NULL,                    -- cumulative, over all columns of batches and rows above it, and none below, but rows.teacher\n"
    "  observed_teacher_latency_ns INTEGER NOT NULL,\n"
    "  observed_forward_backward_ns INTEGER NOT NULL,\n"
    "  observed_time_ns INTEGER NOT NULL,\n"
    "  observed_attempts INTEGER,\n"
    "  observed_tokens_paid INTEGER\n"
    ") STRICT",
    "CREATE TABLE rows (\n"
    "  step INTEGER NOT NULL,\n"
    "  place INTEGER NOT NULL,                  -- in the batch\n"
    "  dataset INTEGER NOT NULL,\n"
    "  row INTEGER NOT NULL,                    -- of the dataset\n"
    "  content BLOB,                            -- SHA-256; NULL: the row could not be read\n"
    "  teacher TEXT NOT NULL,\n"
    "  renderer TEXT NOT NULL,\n"
    "  outcome TEXT NOT NULL,                   -- trained, or why not\n"
    "  num_tokens INTEGER NOT NULL,\n"
    "  PRIMARY KEY (step, place)\n"
    ") STRICT, WITHOUT ROWID"};

const SqliteDatabase::Identity& ledger_identity() {
  static const SqliteDatabase::Identity identity{.application_id = 0x50534c47, .version = 1, .name = "ledger", .tables = kLedgerTables};  // "PSLG"
  return identity;
}

constexpr const char* kInsertBatch = "INSERT INTO batches VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
constexpr const char* kInsertRow = "INSERT INTO rows VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
constexpr const char* kUpdateObserved =
    "UPDATE batches SET observed_teacher_latency_ns = ?2, observed_forward_backward_ns = ?3, observed_time_ns = ?4, observed_attempts = ?5, "
    "observed_tokens_paid = ?6 WHERE step = ?1";
// Column by column: the numbers below are the places here.
constexpr const char* kSelectBatch =
    "SELECT step, epoch, batch, student_version, num_tokens, datum_digest, learning_rate, distill_loss, grad_norm, digest, observed_teacher_latency_ns, "
    "observed_forward_backward_ns, observed_time_ns, observed_attempts, observed_tokens_paid FROM batches WHERE step >= ?1 ORDER BY step LIMIT 1";
constexpr const char* kSelectRows = "SELECT place, dataset, row, content, teacher, renderer, outcome, num_tokens FROM rows WHERE step = ?1 ORDER BY place";

void bind_fraction(SqliteStatement& statement, int at, const std::optional<double>& value) {
  if (!value) {
    statement.bind_null(at);
  } else if (std::isnan(*value)) {
    std::array<char, sizeof(double)> bytes;
    std::memcpy(bytes.data(), &*value, bytes.size());
    statement.bind_blob(at, {bytes.data(), bytes.size()});
  } else {
    statement.bind(at, *value);
  }
}

/// Binds counts, and remembers one that the file could not hold.
class CountBinder {
 public:
  explicit CountBinder(SqliteStatement& statement) : statement_(statement) {}
  void operator()(int at, std::uint64_t value) {
    is_in_range_ = is_in_range_ && value <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    statement_.bind(at, static_cast<std::int64_t>(value));
  }
  void operator()(int at, const std::optional<std::uint64_t>& value) {
    if (value) (*this)(at, *value);
    else statement_.bind_null(at);
  }
  [[nodiscard]] bool is_in_range() const { return is_in_range_; }

 private:
  SqliteStatement& statement_;
  bool is_in_range_ = true;
};

Error too_large(std::uint64_t step) { return {ErrorCode::internal, "step " + std::to_string(step) + ": a count is too large for the ledger"}; }

/// Reads the columns of one row of a table, and remembers the first that could not have been written so.
class ColumnReader {
 public:
  explicit ColumnReader(const SqliteStatement& statement) : statement_(statement) {}

  std::uint64_t count(int at, const char* name) {
    const auto value = statement_.integer(at);
    if (!value || *value < 0) return spoil(name, "no count"), 0;
    return static_cast<std::uint64_t>(*value);
  }
  std::optional<std::uint64_t> count_if_any(int at, const char* name) { return statement_.is_null(at) ? std::nullopt : std::optional(count(at, name)); }
  std::chrono::nanoseconds time(int at, const char* name) {
    const auto value = statement_.integer(at);
    if (!value) spoil(name, "no time");
    return std::chrono::nanoseconds(value.value_or(0));
  }
  std::string text(int at, const char* name) {
    auto value = statement_.text(at);
    if (!value) spoil(name, "no text");
    return std::move(value).value_or("");
  }
  Sha256Digest hash(int at, const char* name) {
    Sha256Digest digest{};
    const auto value = statement_.blob(at);
    if (!value || value->size() != digest.size()) return spoil(name, "no SHA-256"), digest;
    std::memcpy(digest.data(), value->data(), digest.size());
    return digest;
  }
  std::optional<Sha256Digest> hash_if_any(int at, const char* name) { return statement_.is_null(at) ? std::nullopt : std::optional(hash(at, name)); }
  double fraction(int at, const char* name) {
    if (const auto value = statement_.real(at)) return *value;
    double value = 0;
    const auto bytes = statement_.blob(at);
    if (bytes && bytes->size() == sizeof value) std::memcpy(&value, bytes->data(), sizeof value);
    if (!std::isnan(value)) spoil(name, "no number");
    return value;
  }
  std::optional<double> fraction_if_any(int at, const char* name) { return statement_.is_null(at) ? std::nullopt : std::optional(fraction(at, name)); }

  /// "<column> is <what it is not>"; empty if all were well.
  [[nodiscard]] const std::string& spoilt() const { return spoilt_; }

 private:
  void spoil(const char* name, const char* what) {
    if (spoilt_.empty()) spoilt_ = std::string(name) + " is " + what;
  }
  const SqliteStatement& statement_;
  std::string spoilt_;
};

}  // namespace

/// The file with what reads it. Not in the unnamed namespace, for Ledger::Writing holds one.
struct LedgerFile {
  static Result<LedgerFile> over(SqliteDatabase database) {
    auto batch = database.prepare(kSelectBatch);
    if (!batch) return fail(std::move(batch.error()));
    auto rows = database.prepare(kSelectRows);
    if (!rows) return fail(std::move(rows.error()));
    return LedgerFile{std::move(database), *std::move(batch), *std::move(rows)};
  }

  /// The first record at `step` or behind it.
  Result<std::optional<LedgerRecord>> read_from(std::int64_t step) {
    auto record = read_batch(step);
    if (!record || !*record) return record;
    if (auto read = read_rows((*record)->entry); !read) return fail(std::move(read.error()));
    return record;
  }

  /// One that has rows; empty: there is none.
  Result<std::optional<std::int64_t>> step_without_batch() {
    auto stray = database.prepare("SELECT step FROM rows WHERE step NOT IN (SELECT step FROM batches) LIMIT 1");
    if (!stray) return fail(std::move(stray.error()));
    const auto more = stray->step();
    if (!more) return fail(more.error());
    return *more ? stray->integer(0) : std::nullopt;
  }

  [[nodiscard]] tl::unexpected<Error> damaged(const std::string& what) const { return fail(ErrorCode::invalid_input, database.path().string() + " is damaged: " + what); }

  SqliteDatabase database;
  SqliteStatement batch, rows;  // gone before the database

 private:
  Result<std::optional<LedgerRecord>> read_batch(std::int64_t step) {
    const auto more = batch.bind(1, step).step();
    if (!more) return fail(more.error());
    if (!*more) return std::nullopt;
    ColumnReader columns(batch);
    LedgerRecord record;
    auto& entry = record.entry;
    entry.step = columns.count(0, "step");
    entry.epoch = columns.count(1, "epoch");
    entry.batch = columns.count(2, "batch");
    entry.student_version = columns.count_if_any(3, "student_version");
    entry.num_tokens = columns.count(4, "num_tokens");
    entry.datum_digest = columns.text(5, "datum_digest");
    entry.learning_rate = columns.fraction(6, "learning_rate");
    entry.distill_loss = columns.fraction_if_any(7, "distill_loss");
    entry.grad_norm = columns.fraction_if_any(8, "grad_norm");
    record.digest = columns.hash(9, "digest");
    record.observed = {columns.time(10, "observed_teacher_latency_ns"), columns.time(11, "observed_forward_backward_ns"), columns.time(12, "observed_time_ns"),
                       columns.count_if_any(13, "observed_attempts"), columns.count_if_any(14, "observed_tokens_paid")};
    const auto found = batch.integer(0).value_or(-1);
    if (const auto ended = batch.run(); !ended) return fail(ended.error());
    if (!columns.spoilt().empty()) return damaged("step " + std::to_string(found) + ": " + columns.spoilt());
    return record;
  }

  Result<void> read_rows(LedgerEntry& entry) {
    const auto at_step = "step " + std::to_string(entry.step);
    rows.bind(1, static_cast<std::int64_t>(entry.step));
    std::string wrong;
    for (;;) {
      const auto more = rows.step();
      if (!more) return fail(more.error());
      if (!*more) break;
      if (!wrong.empty()) continue;
      ColumnReader columns(rows);
      const auto place = columns.count(0, "place");
      LedgerRow row;
      row.dataset = columns.count(1, "dataset");
      row.index = columns.count(2, "row");
      row.content = columns.hash_if_any(3, "content");
      row.teacher = columns.text(4, "teacher");
      row.renderer = columns.text(5, "renderer");
      row.outcome = columns.text(6, "outcome");
      row.num_tokens = columns.count(7, "num_tokens");
      if (!columns.spoilt().empty()) wrong = at_step + ", row " + std::to_string(place) + " of the batch: " + columns.spoilt();
      else if (place != entry.rows.size()) wrong = at_step + ": row " + std::to_string(entry.rows.size()) + " of the batch is missing";
      else if (place == kMostLedgerRows) wrong = at_step + ": the batch has more than " + std::to_string(kMostLedgerRows) + " rows";
      else entry.rows.push_back(std::move(row));
    }
    if (!wrong.empty()) return damaged(wrong);
    return {};
  }
};

namespace {

Result<void> write_origin(SqliteDatabase& database, const char* statement, const LedgerOrigin& origin) {
  auto prepared = database.prepare(statement);
  if (!prepared) return fail(std::move(prepared.error()));
  return prepared->bind(1, std::string_view(origin.recipe_directory.native())).run();
}

std::optional<std::uint64_t> sum_of_known(const std::optional<std::uint64_t>& a, const std::optional<std::uint64_t>& b) {
  return a || b ? std::optional(a.value_or(0) + b.value_or(0)) : std::nullopt;
}

}  // namespace

struct Ledger::Writing {
  LedgerFile file;
  SqliteStatement insert_batch, insert_row, update_observed;
  std::uint64_t next = 0, end = 0;  // end: behind the last expectation, or next
  Sha256Digest digest = empty_ledger_digest();

  static Result<std::unique_ptr<Writing>> over(SqliteDatabase database) {
    auto file = LedgerFile::over(std::move(database));
    if (!file) return fail(std::move(file.error()));
    std::array<const char*, 3> texts{kInsertBatch, kInsertRow, kUpdateObserved};
    std::vector<SqliteStatement> prepared;
    for (const char* text : texts) {
      auto statement = file->database.prepare(text);
      if (!statement) return fail(std::move(statement.error()));
      prepared.push_back(*std::move(statement));
    }
    return std::unique_ptr<Writing>(new Writing{*std::move(file), std::move(prepared[0]), std::move(prepared[1]), std::move(prepared[2])});
  }

  Result<void> write(const LedgerEntry& entry, const LedgerObserved& observed, const Sha256Digest& behind) {
    if (entry.rows.size() > kMostLedgerRows) {
      return fail(ErrorCode::internal, "step " + std::to_string(entry.step) + ": a batch of more than " + std::to_string(kMostLedgerRows) + " rows does not fit the ledger");
    }
    return file.database.in_transaction([&]() -> Result<void> {
      if (auto written = write_batch(entry, observed, behind); !written) return written;
      for (std::size_t place = 0; place < entry.rows.size(); ++place) {
        if (auto written = write_row(entry, place); !written) return written;
      }
      return {};
    });
  }

  Result<void> write_batch(const LedgerEntry& entry, const LedgerObserved& observed, const Sha256Digest& behind) {
    CountBinder count(insert_batch);
    count(1, entry.step);
    count(2, entry.epoch);
    count(3, entry.batch);
    count(4, entry.student_version);
    count(5, entry.num_tokens);
    insert_batch.bind(6, std::string_view(entry.datum_digest));
    bind_fraction(insert_batch, 7, entry.learning_rate);
    bind_fraction(insert_batch, 8, entry.distill_loss);
    bind_fraction(insert_batch, 9, entry.grad_norm);
    insert_batch.bind_blob(10, digest_bytes(behind));
    bind_observed(insert_batch, 11, observed, count);
    return count.is_in_range() ? insert_batch.run() : fail(too_large(entry.step));
  }

  Result<void> write_row(const LedgerEntry& entry, std::size_t place) {
    const auto& row = entry.rows[place];
    CountBinder count(insert_row);
    count(1, entry.step);
    count(2, place);
    count(3, row.dataset);
    count(4, row.index);
    if (row.content) insert_row.bind_blob(5, digest_bytes(*row.content));
    else insert_row.bind_null(5);
    insert_row.bind(6, std::string_view(row.teacher)).bind(7, std::string_view(row.renderer)).bind(8, std::string_view(row.outcome));
    count(9, row.num_tokens);
    return count.is_in_range() ? insert_row.run() : fail(too_large(entry.step));
  }

  static void bind_observed(SqliteStatement& statement, int first, const LedgerObserved& observed, CountBinder& count) {
    statement.bind(first, observed.teacher_latency.count()).bind(first + 1, observed.forward_backward.count()).bind(first + 2, observed.time.count());
    count(first + 3, observed.attempts);
    count(first + 4, observed.tokens_paid);
  }

  Result<void> compare(const LedgerEntry& entry, const LedgerObserved& observed, const Sha256Digest& behind) {
    const auto expected = file.read_from(static_cast<std::int64_t>(entry.step));
    if (!expected) return fail(expected.error());
    if (!*expected || (*expected)->entry.step != entry.step) return file.damaged("step " + std::to_string(entry.step) + " is missing");
    const auto& stands = **expected;
    if (const auto difference = first_difference(stands.entry, entry)) {
      return fail(ErrorCode::backend_failed, "step " + std::to_string(entry.step) + " was computed before with another result: " + file.database.path().string() + " says " +
                                                 difference->field + " " + difference->a + ", and now it is " + difference->b +
                                                 "; the data, a model, a library or the machine has changed since, an answer was lost, or a model does not repeat itself; --allow-changed ledger goes on without comparing");
    }
    if (stands.digest != behind) return file.damaged("step " + std::to_string(entry.step) + ": its digest is not that of its columns");
    auto both = observed;
    both.attempts = sum_of_known(stands.observed.attempts, observed.attempts);
    both.tokens_paid = sum_of_known(stands.observed.tokens_paid, observed.tokens_paid);
    CountBinder count(update_observed);
    count(1, entry.step);
    bind_observed(update_observed, 2, both, count);
    return count.is_in_range() ? update_observed.run() : fail(too_large(entry.step));
  }
};

Ledger::Ledger(std::unique_ptr<Writing> writing) : writing_(std::move(writing)) {}
Ledger::~Ledger() = default;

Result<std::unique_ptr<Ledger>> Ledger::create(const std::filesystem::path& path, const LedgerOrigin& origin) {
  auto database = SqliteDatabase::open(path, SqliteDatabase::Mode::create, ledger_identity());
  if (!database) return fail(std::move(database.error()));
  if (auto written = write_origin(*database, "INSERT INTO origin VALUES (?1)", origin); !written) return fail(std::move(written.error()));
  auto writing = Writing::over(*std::move(database));
  if (!writing) return fail(std::move(writing.error()));
  return std::unique_ptr<Ledger>(new Ledger(*std::move(writing)));
}

Result<std::unique_ptr<Ledger>> Ledger::open(const std::filesystem::path& path, std::uint64_t cursor) {
  auto database = SqliteDatabase::open(path, SqliteDatabase::Mode::own, ledger_identity());
  if (!database) return fail(std::move(database.error()));
  auto writing = Writing::over(*std::move(database));
  if (!writing) return fail(std::move(writing.error()));
  auto& w = **writing;
  auto digest = w.digest;
  for (;; ++w.end) {
    if (w.end == cursor) w.digest = digest;
    const auto record = w.file.read_from(static_cast<std::int64_t>(w.end));
    if (!record) return fail(record.error());
    if (!*record) break;
    if ((*record)->entry.step != w.end) return w.file.damaged("step " + std::to_string(w.end) + " is missing");
    digest = ledger_digest(digest, (*record)->entry);
    if (digest != (*record)->digest) return w.file.damaged("step " + std::to_string(w.end) + ": its digest is not that of the columns up to it");
  }
  const auto stray = w.file.step_without_batch();
  if (!stray) return fail(stray.error());
  if (*stray) return w.file.damaged("step " + std::to_string(**stray) + " has rows and no batch");
  if (w.end < cursor) {
    return fail(ErrorCode::invalid_input, path.string() + " ends before step " + std::to_string(w.end) + ", and the run is to go on at step " + std::to_string(cursor));
  }
  w.next = cursor;
  return std::unique_ptr<Ledger>(new Ledger(*std::move(writing)));
}

Result<Sha256Digest> Ledger::append(const LedgerEntry& entry, const LedgerObserved& observed) {
  auto& w = *writing_;
  if (entry.step != w.next) {
    return fail(ErrorCode::internal, "the ledger is at step " + std::to_string(w.next) + ", and step " + std::to_string(entry.step) + " was to be written: a batch was lost, or came twice");
  }
  const auto behind = ledger_digest(w.digest, entry);
  fault_point("ledger.before_commit");
  auto done = w.next < w.end ? w.compare(entry, observed, behind) : w.write(entry, observed, behind);
  if (!done) return fail(std::move(done.error()));
  fault_point("ledger.after_commit");
  w.digest = behind;
  ++w.next;
  w.end = std::max(w.end, w.next);
  return behind;
}

Result<LedgerRecord> Ledger::read(std::uint64_t step) {
  auto& w = *writing_;
  if (step >= w.end) return fail(ErrorCode::internal, "the ledger has no step " + std::to_string(step) + " to be read: it ends before step " + std::to_string(w.end));
  auto record = w.file.read_from(static_cast<std::int64_t>(step));
  if (!record) return fail(std::move(record.error()));
  if (!*record || (*record)->entry.step != step) return w.file.damaged("step " + std::to_string(step) + " is missing");
  return **std::move(record);
}

std::uint64_t Ledger::next_step() const { return writing_->next; }
Sha256Digest Ledger::digest() const { return writing_->digest; }
std::uint64_t Ledger::expectations() const { return writing_->end - writing_->next; }
Result<void> Ledger::drop_expectations(std::uint64_t from) {
  auto& w = *writing_;
  if (from >= w.end) return {};
  if (from < w.next) return fail(ErrorCode::internal, "the ledger is at step " + std::to_string(w.next) + ", and was to drop step " + std::to_string(from));
  const auto behind = std::to_string(from);
  auto done = w.file.database.in_transaction([&] { return w.file.database.execute("DELETE FROM rows WHERE step >= " + behind + "; DELETE FROM batches WHERE step >= " + behind); });
  if (done) w.end = from;
  return done;
}
Result<void> Ledger::set_origin(const LedgerOrigin& origin) { return write_origin(writing_->file.database, "UPDATE origin SET recipe_directory = ?1", origin); }
Result<void> Ledger::sync() { return writing_->file.database.sync(); }

Result<void> Ledger::close() {
  auto database = std::move(writing_->file.database);
  writing_.reset();  // its statements
  return database.close();
}

struct LedgerReader::Reading {
  LedgerFile file;
  LedgerOrigin origin = {};
  std::optional<std::int64_t> from = std::numeric_limits<std::int64_t>::min();  // empty: at the end
};

LedgerReader::LedgerReader(std::unique_ptr<Reading> reading) : reading_(std::move(reading)) {}
LedgerReader::~LedgerReader() = default;
LedgerReader::LedgerReader(LedgerReader&&) noexcept = default;
LedgerReader& LedgerReader::operator=(LedgerReader&&) noexcept = default;

Result<LedgerReader> LedgerReader::open(const std::filesystem::path& path) {
  auto database = SqliteDatabase::open(path, SqliteDatabase::Mode::read_only, ledger_identity());
  if (!database) return fail(std::move(database.error()));
  auto file = LedgerFile::over(*std::move(database));
  if (!file) return fail(std::move(file.error()));
  auto reading = std::unique_ptr<Reading>(new Reading{*std::move(file)});
  {
    auto origin = reading->file.database.prepare("SELECT recipe_directory FROM origin");
    if (!origin) return fail(std::move(origin.error()));
    const auto more = origin->step();
    if (!more) return fail(more.error());
    auto directory = *more ? origin->text(0) : std::nullopt;
    if (!directory) return reading->file.damaged("it does not say where its recipe was");
    reading->origin.recipe_directory = *std::move(directory);
  }
  return LedgerReader(std::move(reading));
}

const LedgerOrigin& LedgerReader::origin() const { return reading_->origin; }

Result<std::optional<LedgerRecord>> LedgerReader::next() {
  if (!reading_->from) return std::nullopt;
  auto record = reading_->file.read_from(*reading_->from);
  if (!record || !*record) {
    reading_->from.reset();
    return record;
  }
  const auto step = static_cast<std::int64_t>((*record)->entry.step);
  reading_->from = step < std::numeric_limits<std::int64_t>::max() ? std::optional(step + 1) : std::nullopt;
  return record;
}

Result<std::optional<std::int64_t>> LedgerReader::step_without_batch() { return reading_->file.step_without_batch(); }

}  // namespace pipestill
