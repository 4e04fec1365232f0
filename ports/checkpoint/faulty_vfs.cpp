#include "ports/checkpoint/faulty_vfs.hpp"

#include <sqlite3.h>

#include <cerrno>

#include "ports/fault_point.hpp"

namespace pipestill {
namespace {

constexpr const char* kFaultyVfsName = "pipestill-faulty";

/// What SQLite sees of a file. That of the VFS below stands behind it, in the same memory.
struct FaultyFile {
  sqlite3_file base;
};

sqlite3_file* file_below(sqlite3_file* file) { return reinterpret_cast<sqlite3_file*>(reinterpret_cast<FaultyFile*>(file) + 1); }
sqlite3_vfs* vfs_below(sqlite3_vfs* vfs) { return static_cast<sqlite3_vfs*>(vfs->pAppData); }

/// SQLITE_OK, or how the operation is to fail.
int fault_at(const char* point, int failure) {
  const int error = fault_point(point);
  return error == 0 ? SQLITE_OK : error == ENOSPC || error == EDQUOT ? SQLITE_FULL : failure;
}

/// A method of a file, or of the VFS, that is the one below.
template <auto Method>
struct Below;
template <class R, class... A, R (*sqlite3_io_methods::*Method)(sqlite3_file*, A...)>
struct Below<Method> {
  static R call(sqlite3_file* file, A... arguments) { return (file_below(file)->pMethods->*Method)(file_below(file), arguments...); }
};
template <class R, class... A, R (*sqlite3_vfs::*Method)(sqlite3_vfs*, A...)>
struct Below<Method> {
  static R call(sqlite3_vfs* vfs, A... arguments) { return (vfs_below(vfs)->*Method)(vfs_below(vfs), arguments...); }
};

int write_faultily(sqlite3_file* file, const void* bytes, int count, sqlite3_int64 at) {
  const auto write = [file = file_below(file)](const void* part, int size, sqlite3_int64 place) { return file->pMethods->xWrite(file, part, size, place); };
  const int half = count / 2;
  if (const int status = write(bytes, half, at); status != SQLITE_OK) return status;
  if (const int status = fault_at("sqlite.write", SQLITE_IOERR_WRITE); status != SQLITE_OK) return status;
  return write(static_cast<const char*>(bytes) + half, count - half, at + half);
}

int truncate_faultily(sqlite3_file* file, sqlite3_int64 size) {
  const int status = fault_at("sqlite.truncate", SQLITE_IOERR_TRUNCATE);
  return status == SQLITE_OK ? Below<&sqlite3_io_methods::xTruncate>::call(file, size) : status;
}

int sync_faultily(sqlite3_file* file, int flags) {
  const int status = fault_at("sqlite.sync", SQLITE_IOERR_FSYNC);
  return status == SQLITE_OK ? Below<&sqlite3_io_methods::xSync>::call(file, flags) : status;
}

/// Version 2: without the methods of memory-mapped files.
const sqlite3_io_methods& faulty_methods() {
  using Io = sqlite3_io_methods;
  static const Io methods{
      .iVersion = 2,
      .xClose = Below<&Io::xClose>::call,
      .xRead = Below<&Io::xRead>::call,
      .xWrite = write_faultily,
      .xTruncate = truncate_faultily,
      .xSync = sync_faultily,
      .xFileSize = Below<&Io::xFileSize>::call,
      .xLock = Below<&Io::xLock>::call,
      .xUnlock = Below<&Io::xUnlock>::call,
      .xCheckReservedLock = Below<&Io::xCheckReservedLock>::call,
      .xFileControl = Below<&Io::xFileControl>::call,
      .xSectorSize = Below<&Io::xSectorSize>::call,
      .xDeviceCharacteristics = Below<&Io::xDeviceCharacteristics>::call,
      .xShmMap = Below<&Io::xShmMap>::call,
      .xShmLock = Below<&Io::xShmLock>::call,
      .xShmBarrier = Below<&Io::xShmBarrier>::call,
      .xShmUnmap = Below<&Io::xShmUnmap>::call,
      .xFetch = nullptr,
      .xUnfetch = nullptr,
  };
  return methods;
}

int open_faultily(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* flags_out) {
  file->pMethods = nullptr;  // nothing to close, as long as nothing is open
  if (fault_at("sqlite.open", SQLITE_CANTOPEN) != SQLITE_OK) return SQLITE_CANTOPEN;
  const int status = Below<&sqlite3_vfs::xOpen>::call(vfs, name, file_below(file), flags, flags_out);
  if (file_below(file)->pMethods) file->pMethods = &faulty_methods();
  return status;
}

int delete_faultily(sqlite3_vfs* vfs, const char* name, int sync_directory) {
  const int status = fault_at("sqlite.delete", SQLITE_IOERR_DELETE);
  return status == SQLITE_OK ? Below<&sqlite3_vfs::xDelete>::call(vfs, name, sync_directory) : status;
}

/// Null: SQLite did not take it.
sqlite3_vfs* registered_vfs() {
  using Vfs = sqlite3_vfs;
  auto* below = sqlite3_vfs_find(nullptr);
  if (!below) return nullptr;
  static Vfs vfs{};
  vfs.iVersion = 2;
  vfs.szOsFile = static_cast<int>(sizeof(FaultyFile)) + below->szOsFile;
  vfs.mxPathname = below->mxPathname;
  vfs.zName = kFaultyVfsName;
  vfs.pAppData = below;
  vfs.xOpen = open_faultily;
  vfs.xDelete = delete_faultily;
  vfs.xAccess = Below<&Vfs::xAccess>::call;
  vfs.xFullPathname = Below<&Vfs::xFullPathname>::call;
  vfs.xDlOpen = Below<&Vfs::xDlOpen>::call;
  vfs.xDlError = Below<&Vfs::xDlError>::call;
  vfs.xDlSym = nullptr;  // returns a function, which a template cannot say; extensions are not loaded
  vfs.xDlClose = Below<&Vfs::xDlClose>::call;
  vfs.xRandomness = Below<&Vfs::xRandomness>::call;
  vfs.xSleep = Below<&Vfs::xSleep>::call;
  vfs.xCurrentTime = Below<&Vfs::xCurrentTime>::call;
  vfs.xGetLastError = Below<&Vfs::xGetLastError>::call;
  vfs.xCurrentTimeInt64 = Below<&Vfs::xCurrentTimeInt64>::call;
  return sqlite3_vfs_register(&vfs, 0) == SQLITE_OK ? &vfs : nullptr;
}

}  // namespace

const char* faulty_vfs() {
  if (!plans_faults()) return nullptr;
  static const auto* vfs = registered_vfs();
  return vfs ? vfs->zName : kFaultyVfsName;  // an open then fails: a fault that was asked for is not passed over
}

}  // namespace pipestill
