#include <sqlite3.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ports/dataset/text_source.hpp"
#include "ports/printable.hpp"
#include "ports/strict_json.hpp"

namespace pipestill {
namespace {

namespace json = boost::json;

constexpr int kMostColumns = 256;
constexpr int kMostValueBytes = 64 << 20;

using Database = std::unique_ptr<sqlite3, decltype(&sqlite3_close)>;
using Statement = std::unique_ptr<sqlite3_stmt, decltype(&sqlite3_finalize)>;

tl::unexpected<Error> refuse_database(const std::filesystem::path& path, const std::string& what) {
  return fail(ErrorCode::invalid_input, "the dataset " + path.string() + ": " + what);
}

/// What SQLite says of its latest failure.
std::string reason(sqlite3* database) { return printable(sqlite3_errmsg(database), 200); }

/// In SQL, a name in double quotes is a name whatever it holds.
std::string quoted_name(const std::string& name) {
  std::string quoted = "\"";
  for (const char c : name) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

std::string select_statement(const SqliteSelection& selection) {
  return selection.query.empty() ? "SELECT * FROM " + quoted_name(selection.table) + " ORDER BY _rowid_" : selection.query;
}

bool has_order(std::string_view query) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  std::string words;
  for (const char c : query) words += c == '\n' || c == '\t' || c == '\r' ? ' ' : lower(c);
  words.erase(std::unique(words.begin(), words.end(), [](char a, char b) { return a == ' ' && b == ' '; }), words.end());
  return words.find("order by") != std::string::npos;
}

Result<Database> open_database(const std::filesystem::path& path) {
  sqlite3* opened = nullptr;
  const int status = sqlite3_open_v2(path.c_str(), &opened, SQLITE_OPEN_READONLY | SQLITE_OPEN_PRIVATECACHE, nullptr);
  Database database(opened, &sqlite3_close);
  if (status != SQLITE_OK) return refuse_database(path, "cannot be opened as an SQLite database: " + (opened ? reason(opened) : std::string("no memory")));
  // A schema can hold expressions; those of a foreign file get no functions with effects, and a query no second file.
  sqlite3_db_config(opened, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(opened, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_limit(opened, SQLITE_LIMIT_ATTACHED, 0);
  sqlite3_limit(opened, SQLITE_LIMIT_LENGTH, kMostValueBytes);
  sqlite3_limit(opened, SQLITE_LIMIT_COLUMN, kMostColumns);
  return database;
}

Result<Statement> prepare(sqlite3* database, const std::filesystem::path& path, const SqliteSelection& selection) {
  // Asked for by the rowid: a view has none, and may answer all the same.
  if (selection.query.empty() &&
      sqlite3_table_column_metadata(database, "main", selection.table.c_str(), "_rowid_", nullptr, nullptr, nullptr, nullptr, nullptr) != SQLITE_OK) {
    if (sqlite3_errcode(database) != SQLITE_ERROR) return refuse_database(path, "cannot be read: " + reason(database));
    return refuse_database(path, "dataset.table \"" + printable(selection.table) + "\" is no table of it (a view, or a table WITHOUT ROWID, is read with dataset.query)");
  }
  const auto text = select_statement(selection);
  sqlite3_stmt* prepared = nullptr;
  const char* rest = nullptr;
  const int status = sqlite3_prepare_v2(database, text.c_str(), static_cast<int>(text.size()) + 1, &prepared, &rest);
  Statement statement(prepared, &sqlite3_finalize);
  const std::string key = selection.query.empty() ? "dataset.table" : "dataset.query";
  if (status != SQLITE_OK) {
    return refuse_database(path, key + " \"" + printable(selection.query.empty() ? selection.table : selection.query, 200) + "\" cannot be read: " + reason(database));
  }
  if (!prepared || !sqlite3_stmt_readonly(prepared) || sqlite3_column_count(prepared) == 0) return refuse_database(path, key + " must be one SELECT, which writes nothing");
  if (std::string_view(rest).find_first_not_of(" \t\r\n;") != std::string_view::npos) return refuse_database(path, key + " must be one statement; behind its end stands more");
  return statement;
}

/// The names of the columns, each of which becomes a key.
Result<std::vector<std::string>> column_names(sqlite3_stmt* statement, const std::filesystem::path& path) {
  std::vector<std::string> names;
  for (int i = 0; i < sqlite3_column_count(statement); ++i) {
    const char* name = sqlite3_column_name(statement, i);
    if (!name || !is_utf8(name)) return refuse_database(path, "column " + std::to_string(i + 1) + " has no name in UTF-8");
    if (std::ranges::find(names, name) != names.end()) return refuse_database(path, "two columns are called " + printable(name) + "; name them apart with AS");
    names.emplace_back(name);
  }
  return names;
}

std::string place_of(std::uint64_t row, const std::string& column) { return "row " + std::to_string(row) + ", column " + printable(column); }

Result<json::value> value_at(sqlite3_stmt* statement, int column, const std::string& name, std::uint64_t row, const std::filesystem::path& path) {
  switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER:
      return json::value(std::int64_t{sqlite3_column_int64(statement, column)});
    case SQLITE_FLOAT:
      return json::value(sqlite3_column_double(statement, column));
    case SQLITE_NULL:
      return json::value(nullptr);
    case SQLITE_BLOB:
      return refuse_database(path, place_of(row, name) + ": a BLOB is no text; leave the column out with dataset.query, or cast it");
    default:
      break;
  }
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement, column));
  if (!bytes) return refuse_database(path, place_of(row, name) + ": " + reason(sqlite3_db_handle(statement)));
  const std::string_view text(bytes, static_cast<std::size_t>(sqlite3_column_bytes(statement, column)));
  if (!is_utf8(text)) return refuse_database(path, place_of(row, name) + ": the text is not UTF-8");
  if (name == "messages" || name == "tools") {
    auto list = parse_strict_json_line(text, path.string() + ": " + place_of(row, name), {.max_bytes = text.size()});
    if (list && list->is_array()) return list;
    json::error_code error;
    const bool is_list = !list && json::parse(json::string_view(text.data(), text.size()), error).is_array() && !error;
    if (is_list) return fail(std::move(list).error());  // a key given twice; what is no list is a string, and as such no conversation
  }
  return json::value(json::string_view(text.data(), text.size()));
}

}  // namespace

Result<void> read_sqlite_text(const std::filesystem::path& path, const SqliteSelection& selection, const TextSink& sink) {
  if (!selection.query.empty() && !has_order(selection.query)) {
    return refuse_database(path, "dataset.query must say ORDER BY: without it SQLite may give the rows in any order");
  }
  const auto database = open_database(path);
  if (!database) return fail(database.error());
  const auto statement = prepare(database->get(), path, selection);
  if (!statement) return fail(statement.error());
  const auto names = column_names(statement->get(), path);
  if (!names) return fail(names.error());
  for (std::uint64_t row = 1;; ++row) {
    const int status = sqlite3_step(statement->get());
    if (status == SQLITE_DONE) return {};
    if (status != SQLITE_ROW) return refuse_database(path, "cannot be read at row " + std::to_string(row) + ": " + reason(database->get()));
    json::object fields;
    for (int i = 0; i < static_cast<int>(names->size()); ++i) {
      const auto& name = (*names)[static_cast<std::size_t>(i)];
      auto value = value_at(statement->get(), i, name, row, path);
      if (!value) return fail(std::move(value.error()));
      fields[name] = *std::move(value);
    }
    if (auto taken = sink(json::serialize(fields) + "\n"); !taken) return taken;
  }
}

}  // namespace pipestill
