#include <doctest/doctest.h>
#include <sqlite3.h>

#include <boost/json/serialize.hpp>
#include <string>

#include "ports/dataset/conversation.hpp"
#include "ports/dataset/dataset_factory.hpp"
#include "ports/dataset/jsonl_store.hpp"
#include "tests/ports/support.hpp"

using namespace pipestill;
using testing::TempDir;

namespace {

std::filesystem::path database_of(const TempDir& dir, const std::string& name, const std::string& sql) {
  const auto path = dir.path() / name;
  sqlite3* database = nullptr;
  REQUIRE(sqlite3_open(path.c_str(), &database) == SQLITE_OK);
  char* error = nullptr;
  const int status = sqlite3_exec(database, sql.c_str(), nullptr, nullptr, &error);
  INFO((error ? error : ""));
  REQUIRE(status == SQLITE_OK);
  sqlite3_close(database);
  return path;
}

std::string sqlite_rows(DatasetStore& store) {
  std::string text;
  for (std::uint64_t i = 0; i < store.size(); ++i) text += boost::json::serialize(store.row(i).value().fields);
  return text;
}

std::string refused_database(const std::filesystem::path& path, const DatasetOptions& options) {
  const auto store = open_dataset(path, options);
  if (store) return "accepted";
  CHECK(store.error().code == ErrorCode::invalid_input);
  CHECK(store.error().message.find(path.string()) != std::string::npos);
  CHECK(store.error().message.find('\n') == std::string::npos);
  return store.error().message;
}

bool refusal_holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a table's rows come by rowid, with their types") {
  const TempDir dir;
  const auto path = database_of(dir, "a.sqlite",
                                R"(CREATE TABLE "my ""rows" (prompt TEXT, n INTEGER, x REAL, missing TEXT);
                                   INSERT INTO "my ""rows" (rowid, prompt, n, x) VALUES (9, 'last', 3, 0.5), (2, 'first', -9007199254740993, 1e300), (5, 'a"b' || char(10), NULL, 2.0);)");
  const auto store = open_dataset(path, {.table = "my \"rows"}).value();
  CHECK(sqlite_rows(*store) == R"({"prompt":"first","n":-9007199254740993,"x":1E300,"missing":null})"
                           R"({"prompt":"a\"b\n","n":null,"x":2E0,"missing":null})"
                           R"({"prompt":"last","n":3,"x":5E-1,"missing":null})");
  CHECK(store->row(1).value().where == path.string() + ":2");
}

TEST_CASE("a query's rows come in the order that it asks for; text in messages is JSON") {
  const TempDir dir;
  const auto path = database_of(dir, "a.db",
                                R"(CREATE TABLE t (id, text);
                                   INSERT INTO t VALUES (1, '[{"role":"user","content":"one"}]'), (2, '[{"role":"user","content":"two"}]'), (3, 'no JSON');)");
  const auto store = open_dataset(path, {.query = "SELECT text AS messages, id FROM t WHERE id <> 7\n ORDER\tBY id DESC;"}).value();
  REQUIRE(store->size() == 3);
  CHECK(!prompt_conversation(store->row(0).value()));
  CHECK(prompt_conversation(store->row(1).value()).value() == std::vector<Message>{{"user", "two"}});
  CHECK(prompt_conversation(store->row(2).value()).value() == std::vector<Message>{{"user", "one"}});
  // The fingerprint is that of the rows, not of the file.
  CHECK(store->fingerprint() != open_dataset(path, {.query = "SELECT text AS messages, id FROM t ORDER BY id"}).value()->fingerprint());
}

TEST_CASE("text in tools is JSON too") {
  const TempDir dir;
  const auto path = database_of(dir, "tools.db", R"(CREATE TABLE t (prompt, tools); INSERT INTO t VALUES ('p', '[{"name": "f"}]'), ('q', NULL);)");
  const auto store = open_dataset(path, {.table = "t"}).value();
  REQUIRE(store->size() == 2);
  CHECK(store->row(0).value().fields.at("tools").at(0).at("name") == "f");
  CHECK(store->row(1).value().fields.at("tools").is_null());
}

TEST_CASE("a key that a database's messages give twice is refused with row, column and key") {
  const TempDir dir;
  const auto path = database_of(dir, "a.db", R"(CREATE TABLE t (messages);
                                   INSERT INTO t VALUES ('[]'), ('[{"role":"user","content":"a","content":"b"}]');)");
  const auto store = open_dataset(path, {.table = "t"});
  REQUIRE(!store);
  CHECK(store.error().code == ErrorCode::invalid_input);
  CHECK(store.error().message.find(path.string() + ": row 2, column messages:1:39: the key [0].content is given twice") == 0);
}

TEST_CASE("what a database cannot give is refused in a sentence") {
  const TempDir dir;
  const auto path = database_of(dir, "a.sqlite",
                                R"(CREATE TABLE t (prompt); INSERT INTO t VALUES ('p');
                                   CREATE TABLE blobs (prompt, data); INSERT INTO blobs VALUES ('p', 'text'), ('q', x'00ff');
                                   CREATE TABLE latin (prompt); INSERT INTO latin VALUES (CAST(x'ff' AS TEXT));
                                   CREATE TABLE keyed (prompt PRIMARY KEY) WITHOUT ROWID;
                                   CREATE VIEW v AS SELECT * FROM t;)");
  CHECK(refusal_holds(refused_database(path, {}), "name either its table"));
  CHECK(refusal_holds(refused_database(path, {.table = "t", .query = "SELECT 1 ORDER BY 1"}), "name either its table"));
  CHECK(refusal_holds(refused_database(path, {.table = "none"}), "dataset.table \"none\" is no table of it"));
  CHECK(refusal_holds(refused_database(path, {.table = "t\"; DROP TABLE t; --"}), "is no table of it"));
  CHECK(refusal_holds(refused_database(path, {.table = "keyed"}), "dataset.query"));
  CHECK(refusal_holds(refused_database(path, {.table = "v"}), "dataset.query"));
  CHECK(refusal_holds(refused_database(path, {.table = "blobs"}), "row 2, column data: a BLOB"));
  CHECK(refusal_holds(refused_database(path, {.table = "latin"}), "row 1, column prompt: the text is not UTF-8"));
  CHECK(refusal_holds(refused_database(path, {.query = "SELECT prompt FROM t"}), "ORDER BY"));
  CHECK(refusal_holds(refused_database(path, {.query = "SELECT prompt FROM t ORDER BY 1; DROP TABLE t"}), "one statement"));
  CHECK(refusal_holds(refused_database(path, {.query = "DELETE FROM t ORDER BY 1"}), "dataset.query"));
  CHECK(refusal_holds(refused_database(path, {.query = "SELECT prompt, prompt FROM t ORDER BY 1"}), "two columns are called prompt"));
  CHECK(refusal_holds(refused_database(path, {.query = "SELECT wrong FROM t ORDER BY 1"}), "no such column: wrong"));
  CHECK(refusal_holds(refused_database(path, {.query = "ATTACH 'other.db' AS order BY 1"}), "dataset.query"));
  CHECK(open_dataset(path, {.table = "t"}).value()->size() == 1);  // still
  CHECK(refusal_holds(refused_database(dir.write("no.sqlite", std::string(5000, 'x')), {.table = "t"}), "file is not a database"));
  CHECK(refusal_holds(refused_database(dir.write("a.jsonl", "{}\n"), {.table = "t"}), "is no database"));
  auto cut = testing::read_file(path);
  cut.resize(cut.size() / 2);
  CHECK(refused_database(dir.write("cut.sqlite", cut), {.table = "t"}) != "accepted");
}

TEST_CASE("a database's rows are kept in the cache until it changes, in its file or beside it") {
  const TempDir dir;
  const auto path = database_of(dir, "a.sqlite", "CREATE TABLE t (prompt); INSERT INTO t VALUES ('p');");
  const DatasetOptions options{.table = "t", .cache = dir.path() / "cache"};
  const auto open = [&] { return JsonlStore::open(path, options).value(); };
  CHECK(open()->made() == IndexedText::Made::anew);
  CHECK(open()->made() == IndexedText::Made::from_cache_by_hash);
  database_of(dir, "a.sqlite", "INSERT INTO t VALUES ('q');");
  CHECK(open()->size() == 2);

  database_of(dir, "a.sqlite", "PRAGMA journal_mode = WAL;");
  sqlite3* writer = nullptr;  // as long as it is open, its changes stay in the journal
  REQUIRE(sqlite3_open(path.c_str(), &writer) == SQLITE_OK);
  REQUIRE(sqlite3_exec(writer, "INSERT INTO t VALUES ('r');", nullptr, nullptr, nullptr) == SQLITE_OK);
  CHECK(open()->size() == 3);
  REQUIRE(sqlite3_exec(writer, "INSERT INTO t VALUES ('s');", nullptr, nullptr, nullptr) == SQLITE_OK);
  CHECK(open()->size() == 4);
  sqlite3_close(writer);
}
