#include "ports/checkpoint/sqlite_database.hpp"

#include <sqlite3.h>
#include <unistd.h>

#include <chrono>
#include <system_error>
#include <thread>
#include <utility>

#include "ports/checkpoint/faulty_vfs.hpp"
#include "ports/durable_file.hpp"
#include "ports/printable.hpp"

namespace pipestill {
namespace {

constexpr int kPatienceOfShared = 60'000;  // ms, for another process
constexpr int kMostColumnsOfOurs = 64;

/// How `sqlite_schema` may look: the tables as they were made, one behind the other. STRICT tables of ours have no index but their key.
constexpr const char* kSchemaQuery = "SELECT type, sql FROM sqlite_schema ORDER BY rowid";

/// Whether nothing but the disk could keep us from the file, or from making it.
bool is_open_to_us(const std::filesystem::path& path) {
  std::error_code ignored;
  const auto directory = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  if (::access(directory.c_str(), W_OK | X_OK) != 0 || std::filesystem::is_directory(path, ignored)) return false;
  return !std::filesystem::exists(path, ignored) || ::access(path.c_str(), R_OK) == 0;
}

}  // namespace

Error sqlite_error(const std::filesystem::path& path, sqlite3* database) {
  const auto reason = database ? printable(sqlite3_errmsg(database), 200) : std::string("no memory");
  switch (database ? sqlite3_errcode(database) & 0xff : SQLITE_NOMEM) {
    case SQLITE_NOTADB:
      return {ErrorCode::invalid_input, path.string() + " is no SQLite database, or its first bytes are damaged"};
    case SQLITE_CORRUPT:
      return {ErrorCode::invalid_input, path.string() + " is damaged: " + reason};
    case SQLITE_NOMEM:  // what SQLite says of some damaged tables, too
      return {database ? ErrorCode::invalid_input : ErrorCode::backend_failed, path.string() + " is damaged, or there is not enough memory to read it"};
    case SQLITE_CANTOPEN:
      return {is_open_to_us(path) ? ErrorCode::backend_failed : ErrorCode::invalid_input, "cannot read " + path.string() + ": " + reason};
    case SQLITE_ERROR:
      return {ErrorCode::invalid_input, "cannot read " + path.string() + ": " + reason};
    case SQLITE_BUSY:
      return {ErrorCode::backend_failed, path.string() + " is in use by another process"};
    default:
      return {ErrorCode::backend_failed, "SQLite failed on " + path.string() + ": " + reason};
  }
}

void SqliteStatement::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

SqliteStatement& SqliteStatement::note(int status) {
  if (bind_status_ == SQLITE_OK) bind_status_ = status;
  return *this;
}

SqliteStatement& SqliteStatement::bind(int parameter, std::int64_t value) { return note(sqlite3_bind_int64(statement_.get(), parameter, value)); }
SqliteStatement& SqliteStatement::bind(int parameter, double value) { return note(sqlite3_bind_double(statement_.get(), parameter, value)); }
SqliteStatement& SqliteStatement::bind_null(int parameter) { return note(sqlite3_bind_null(statement_.get(), parameter)); }
// A null pointer would be bound as null: an empty text has an address too.
SqliteStatement& SqliteStatement::bind(int parameter, std::string_view text) {
  return note(sqlite3_bind_text64(statement_.get(), parameter, text.empty() ? "" : text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
}
SqliteStatement& SqliteStatement::bind_blob(int parameter, std::string_view bytes) {
  return note(sqlite3_bind_blob64(statement_.get(), parameter, bytes.empty() ? "" : bytes.data(), bytes.size(), SQLITE_TRANSIENT));
}

Result<bool> SqliteStatement::step() {
  auto* statement = statement_.get();
  const int bound = std::exchange(bind_status_, SQLITE_OK);
  const int status = bound == SQLITE_OK ? sqlite3_step(statement) : bound;
  if (status == SQLITE_ROW) return true;
  if (status == SQLITE_DONE) {
    sqlite3_reset(statement);
    return false;
  }
  auto error = sqlite_error(path_, sqlite3_db_handle(statement));  // before the reset, which may change it
  sqlite3_reset(statement);
  return fail(std::move(error));
}

Result<void> SqliteStatement::run() {
  for (;;) {
    const auto more = step();
    if (!more) return fail(more.error());
    if (!*more) return {};
  }
}

bool SqliteStatement::is_null(int column) const { return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL; }

std::optional<std::int64_t> SqliteStatement::integer(int column) const {
  if (sqlite3_column_type(statement_.get(), column) != SQLITE_INTEGER) return std::nullopt;
  return sqlite3_column_int64(statement_.get(), column);
}

std::optional<double> SqliteStatement::real(int column) const {
  if (sqlite3_column_type(statement_.get(), column) != SQLITE_FLOAT) return std::nullopt;
  return sqlite3_column_double(statement_.get(), column);
}

std::optional<std::string> SqliteStatement::bytes(int column, int type) const {
  if (sqlite3_column_type(statement_.get(), column) != type) return std::nullopt;
  const auto* data = static_cast<const char*>(sqlite3_column_blob(statement_.get(), column));  // null where it is empty
  return data ? std::string(data, static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))) : std::string();
}
std::optional<std::string> SqliteStatement::text(int column) const { return bytes(column, SQLITE_TEXT); }
std::optional<std::string> SqliteStatement::blob(int column) const { return bytes(column, SQLITE_BLOB); }

void SqliteDatabase::Close::operator()(sqlite3* database) const { sqlite3_close_v2(database); }

Result<SqliteDatabase> SqliteDatabase::open(const std::filesystem::path& path, Mode mode, const Identity& identity) {
  std::error_code ignored;
  const bool is_there = std::filesystem::exists(path, ignored);
  if (mode == Mode::create && is_there) return fail(ErrorCode::invalid_input, path.string() + " is there already; a new " + identity.name + " overwrites nothing");
  if (mode != Mode::create && mode != Mode::shared && !is_there) return fail(ErrorCode::invalid_input, "there is no " + identity.name + " at " + path.string());
  // Whoever was killed between log and no log (close()) left a journal, and what it has must be written back before anybody can read.
  const bool is_half_changed = std::filesystem::exists(path.string() + "-journal", ignored);
  const int flags = mode == Mode::create || mode == Mode::shared ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
                    : mode == Mode::own || is_half_changed       ? SQLITE_OPEN_READWRITE
                                                                 : SQLITE_OPEN_READONLY;
  sqlite3* opened = nullptr;
  const int status = sqlite3_open_v2(path.c_str(), &opened, flags | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_NOMUTEX, faulty_vfs());
  SqliteDatabase database(path, opened);
  if (status != SQLITE_OK) return fail(sqlite_error(path, opened));
  sqlite3_extended_result_codes(opened, 0);
  sqlite3_db_config(opened, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(opened, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_db_config(opened, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
  sqlite3_db_config(opened, SQLITE_DBCONFIG_ENABLE_VIEW, 0, nullptr);
  sqlite3_limit(opened, SQLITE_LIMIT_ATTACHED, 0);
  sqlite3_limit(opened, SQLITE_LIMIT_LENGTH, identity.most_value_bytes);
  sqlite3_limit(opened, SQLITE_LIMIT_COLUMN, kMostColumnsOfOurs);
  if (mode == Mode::shared) sqlite3_busy_timeout(opened, kPatienceOfShared);
  // First of all, before any of them looks into the file and so opens the log: two processes that resume one run would be worse than a reader that has to
  // wait; and the log then needs no shared memory, which some file systems lack.
  Result<void> set;
  if (mode == Mode::create || mode == Mode::own) set = database.execute("PRAGMA locking_mode = EXCLUSIVE");
  if (set) set = database.execute("PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA synchronous = NORMAL");
  if (set && mode == Mode::read_only) set = database.execute("PRAGMA query_only = ON");
  if (set && mode == Mode::shared) set = database.share(identity);
  if (set && mode != Mode::create) set = database.check(identity, mode == Mode::shared ? Reading::tables : Reading::everything);
  if (set && (mode == Mode::create || mode == Mode::own)) set = database.begin_log();
  if (set && mode == Mode::create) set = database.make(identity);
  const bool is_protected = set ? mode != Mode::read_only && sqlite3_db_readonly(opened, "main") == 1 : (sqlite3_errcode(opened) & 0xff) == SQLITE_READONLY;
  if (is_protected) {
    return fail(ErrorCode::invalid_input, path.string() + " must be written to, and cannot be: its permissions do not allow that, or a later SQLite made it");
  }
  if (!set) return fail(std::move(set.error()));
  return database;
}

Result<void> SqliteDatabase::begin_log() {
  auto statement = prepare("PRAGMA journal_mode = WAL");
  if (!statement) return fail(std::move(statement.error()));
  const auto more = statement->step();
  if (!more) return fail(more.error());
  if (statement->text(0) != "wal") {
    return fail(ErrorCode::invalid_input, "SQLite cannot keep a write-ahead log beside " + path_.string() + ": the file is damaged, or its file system cannot share memory");
  }
  return {};
}

/// Who comes first makes the tables; the log is begun by whoever does, and SQLite's own patience does not cover that.
Result<void> SqliteDatabase::share(const Identity& identity) {
  // A disk that fails, or a file that can have no log, is not waited for.
  const auto may_pass = [&] { return (sqlite3_errcode(database_.get()) & 0xff) == SQLITE_BUSY; };
  Result<void> begun = begin_log();
  for (int waited = 0; !begun && may_pass() && waited < kPatienceOfShared; waited += 10) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    begun = begin_log();
  }
  if (!begun) return begun;
  return make(identity);
}

Result<void> SqliteDatabase::make(const Identity& identity) {
  return in_transaction([&]() -> Result<void> {
    const auto objects = number("SELECT count(*) FROM sqlite_schema");
    if (!objects) return fail(objects.error());
    if (*objects > 0) return {};  // another process was first, or the file is somebody else's: check() will say
    for (const char* table : identity.tables) {
      if (auto made = execute(table); !made) return made;
    }
    return execute("PRAGMA application_id = " + std::to_string(identity.application_id) + "; PRAGMA user_version = " + std::to_string(identity.version));
  });
}

Result<void> SqliteDatabase::check(const Identity& identity, Reading reading) {
  const auto refuse = [&](const std::string& what) -> Result<void> { return fail(ErrorCode::invalid_input, path_.string() + " is no " + identity.name + ": " + what); };
  const auto application = number("PRAGMA application_id");
  if (!application) return fail(application.error());
  if (*application != identity.application_id) {
    const auto tables = number("SELECT count(*) FROM sqlite_schema");
    if (!tables) return fail(tables.error());
    return refuse(*application == 0 && *tables == 0 ? "it is empty: its run ended before it began" : "the program that made it is another one");
  }
  const auto version = number("PRAGMA user_version");
  if (!version) return fail(version.error());
  if (*version != identity.version) {
    return refuse("its version is " + std::to_string(*version) + ", and this program reads version " + std::to_string(identity.version));
  }
  auto schema = prepare(kSchemaQuery);
  if (!schema) return fail(std::move(schema.error()));
  for (const char* table : identity.tables) {
    const auto more = schema->step();
    if (!more) return fail(more.error());
    if (!*more || schema->text(0) != "table" || schema->text(1) != table) return refuse("its tables are others");
  }
  const auto more = schema->step();
  if (!more) return fail(more.error());
  if (*more) return refuse("it holds more than its tables");
  if (reading == Reading::tables) return {};
  auto whole = prepare("PRAGMA quick_check(1)");
  if (!whole) return fail(std::move(whole.error()));
  const auto answered = whole->step();
  if (!answered) return fail(answered.error());
  const auto verdict = whole->text(0).value_or("");
  if (verdict != "ok") return fail(ErrorCode::invalid_input, path_.string() + " is damaged: " + printable(verdict, 200));
  return {};
}

Result<std::int64_t> SqliteDatabase::number(const std::string& sql) {
  auto statement = prepare(sql);
  if (!statement) return fail(std::move(statement.error()));
  const auto more = statement->step();
  if (!more) return fail(more.error());
  return *more ? statement->integer(0).value_or(0) : 0;
}

Result<SqliteStatement> SqliteDatabase::prepare(const std::string& sql) {
  sqlite3_stmt* prepared = nullptr;
  const int status = sqlite3_prepare_v2(database_.get(), sql.c_str(), static_cast<int>(sql.size()) + 1, &prepared, nullptr);
  if (status != SQLITE_OK) return fail(sqlite_error(path_, database_.get()));
  return SqliteStatement(path_, prepared);
}

std::int64_t SqliteDatabase::last_inserted() const { return sqlite3_last_insert_rowid(database_.get()); }

Result<void> SqliteDatabase::execute(const std::string& sql) {
  if (sqlite3_exec(database_.get(), sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) return fail(sqlite_error(path_, database_.get()));
  return {};
}

Result<void> SqliteDatabase::sync() const {
  // With synchronous = NORMAL all that is not in the log has been synced before the log was begun anew. Nobody locks the log, so that closing a descriptor
  // of it gives no lock away.
  if (auto synced = sync_file(path_.string() + "-wal"); !synced) return synced;
  return sync_directory(path_.has_parent_path() ? path_.parent_path() : ".");
}

Result<void> SqliteDatabase::close() {
  auto plain = execute("PRAGMA journal_mode = DELETE");
  // Left by whoever read the log of a killed run; nobody can be using it, for the file is still ours alone.
  std::error_code ignored;
  if (plain) std::filesystem::remove(path_.string() + "-shm", ignored);
  database_.reset();
  return plain;
}

}  // namespace pipestill
