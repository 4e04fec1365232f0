#pragma once
// A disk that fails on request, below SQLite: the points of ports/fault_point.hpp in every file that SqliteDatabase opens.

namespace pipestill {

/// The name of an SQLite VFS over the default one, for sqlite3_open_v2; null where the environment asks neither for a fault nor for a trace: the default one.
///
/// It passes the points `sqlite.open`, `sqlite.write`, `sqlite.truncate`, `sqlite.sync` and `sqlite.delete`, each before the operation; of a write the first half of the
/// bytes has been written then, so that whoever is ended there, or sees it fail, leaves a torn page. A full disk is SQLITE_FULL, any other error SQLITE_IOERR of the
/// operation's kind, and SQLITE_CANTOPEN of an open. Thread-safe; what a file may do is SQLite's: https://www.sqlite.org/vfs.html
[[nodiscard]] const char* faulty_vfs();

}  // namespace pipestill
