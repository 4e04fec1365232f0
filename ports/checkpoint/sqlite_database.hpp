#pragma once
// SqliteDatabase: one of our own database files. It is opened as carefully as somebody else's: anybody may have written to it since.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "graph/base/error.hpp"

struct sqlite3;
struct sqlite3_stmt;

namespace pipestill {

/// What a failure of SQLite on this file is: a file that is no database, is damaged or cannot be opened is ErrorCode::invalid_input; one that
/// another process holds, a full disk and the like are ErrorCode::backend_failed.
[[nodiscard]] Error sqlite_error(const std::filesystem::path& path, sqlite3* database);

/// A prepared statement, run any number of times: bind, then step until false. Parameters count from 1 and columns from 0, as SQLite counts.
/// Must go before its database.
class SqliteStatement {
 public:
  SqliteStatement& bind(int parameter, std::int64_t value);
  SqliteStatement& bind(int parameter, std::string_view text);
  SqliteStatement& bind(int parameter, double value);  ///< a NaN would be stored as null
  SqliteStatement& bind_blob(int parameter, std::string_view bytes);
  SqliteStatement& bind_null(int parameter);
  /// True: at a row. False: done, and ready for the next run with the same parameters. A failure of bind() comes out here.
  [[nodiscard]] Result<bool> step();
  /// Steps until it is done.
  [[nodiscard]] Result<void> run();

  [[nodiscard]] bool is_null(int column) const;
  // Empty where the column is of another type.
  [[nodiscard]] std::optional<std::int64_t> integer(int column) const;
  [[nodiscard]] std::optional<double> real(int column) const;
  [[nodiscard]] std::optional<std::string> text(int column) const;
  [[nodiscard]] std::optional<std::string> blob(int column) const;

 private:
  friend class SqliteDatabase;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  SqliteStatement(std::filesystem::path path, sqlite3_stmt* statement) : path_(std::move(path)), statement_(statement) {}
  SqliteStatement& note(int status);
  [[nodiscard]] std::optional<std::string> bytes(int column, int type) const;

  std::filesystem::path path_;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  int bind_status_ = 0;
};

/// One thread at a time.
class SqliteDatabase {
 public:
  enum class Mode {
    create,     ///< the file must not be there
    own,        ///< nobody else may use it while this is open, in any way
    read_only,  ///< with others that only read, or that share; nothing is written, but what a process that was killed in the middle of a change left is put back
    shared,     ///< made where it is not there; others may read and write it at the same time, one after the other
  };
  struct Identity {
    std::int32_t application_id = 0;  ///< which program's file it is, in its header
    std::int32_t version = 0;         ///< of its tables
    std::string name;                 ///< for error texts: "ledger"
    int most_value_bytes = 1 << 20;   ///< that a value may have
    std::span<const char* const> tables = {};  ///< CREATE TABLE ..., which a file has as they stand here, in this order, and nothing else
  };

  /// `create` makes the tables. In the other modes the file is checked, from end to end (PRAGMA quick_check, about a second a gigabyte) unless it is shared: one that
  /// is no such database, of another version, with other tables, triggers or views, or damaged is refused. Values and columns have limits, and
  /// nothing in the file runs a function with effects.
  /// Modes that write keep a write-ahead log: what was committed outlives the process, whatever ends it (kill -9); of a machine that loses
  /// power the latest transactions may be gone, each as a whole and the last first, unless sync() was called behind them.
  [[nodiscard]] static Result<SqliteDatabase> open(const std::filesystem::path& path, Mode mode, const Identity& identity);
  SqliteDatabase(SqliteDatabase&&) noexcept = default;
  SqliteDatabase& operator=(SqliteDatabase&&) noexcept = default;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] Result<SqliteStatement> prepare(const std::string& sql);
  /// One or several statements without results.
  [[nodiscard]] Result<void> execute(const std::string& sql);
  /// The rowid of the last INSERT.
  [[nodiscard]] std::int64_t last_inserted() const;
  /// Runs `body`, which writes nothing and gives a Result<void>, on one state of the file: what it reads is of one moment, and finding that out costs once.
  template <class Body>
  [[nodiscard]] Result<void> in_snapshot(const Body& body) {
    auto done = execute("BEGIN");
    if (!done) return done;
    done = body();
    auto ended = execute(done ? "COMMIT" : "ROLLBACK");
    return done ? ended : done;
  }
  /// Runs `body` in one transaction; its error, or one of the commit, takes everything back.
  template <class Body>
  [[nodiscard]] Result<void> in_transaction(const Body& body) {
    auto done = execute("BEGIN IMMEDIATE");
    if (!done) return done;
    done = body();
    if (done) done = execute("COMMIT");
    if (!done) (void)execute("ROLLBACK");  // or the failed statement has done so itself
    return done;
  }
  /// What was committed until now is on the disk. May be called while another thread uses the database.
  [[nodiscard]] Result<void> sync() const;
  /// Leaves one file, without a log, that can be read where nothing can be written. Every statement must be gone. At most once.
  [[nodiscard]] Result<void> close();

 private:
  struct Close {
    void operator()(sqlite3* database) const;
  };
  SqliteDatabase(std::filesystem::path path, sqlite3* database) : path_(std::move(path)), database_(database) {}
  [[nodiscard]] Result<void> begin_log();
  [[nodiscard]] Result<void> make(const Identity& identity);
  enum class Reading { tables, everything };
  [[nodiscard]] Result<void> share(const Identity& identity);
  [[nodiscard]] Result<void> check(const Identity& identity, Reading reading);
  [[nodiscard]] Result<std::int64_t> number(const std::string& sql);

  std::filesystem::path path_;
  std::unique_ptr<sqlite3, Close> database_;
};

}  // namespace pipestill
