#pragma once
// The ledger: run.sqlite, in which a run says of every batch, in order, what it came to.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>

#include "graph/base/error.hpp"
#include "ports/checkpoint/ledger_entry.hpp"

namespace pipestill {

/// What a ledger keeps beside its entries, and in no digest.
struct LedgerOrigin {
  std::filesystem::path recipe_directory = {};  ///< absolute: where the recipe's relative paths start from
};

/// An entry as it stands in the file.
struct LedgerRecord {
  LedgerEntry entry;
  LedgerObserved observed;
  Sha256Digest digest{};  ///< the cumulative one behind it, as it was written
};

/// Writes the ledger of one run. One thread at a time; from anywhere.
/// Two tables for whoever looks with sqlite3: `batches`, a row a batch by `step`, and `rows`, by `step` and `place` in the batch.
/// An entry is there as a whole or not at all. What was appended outlives the process, whatever ends it (kill -9); of a machine that loses power
/// the latest entries may be gone, unless sync() was called behind them. Until close(), or the process's end, nobody else can open the file.
/// Failures of the disk are ErrorCode::backend_failed, naming the file.
class Ledger {
 public:
  /// `path` must not be there.
  [[nodiscard]] static Result<std::unique_ptr<Ledger>> create(const std::filesystem::path& path, const LedgerOrigin& origin);
  /// To go on at step `cursor`: the entries before it stay, and those from it on become expectations (append()). A file that is no ledger, of
  /// another version, damaged (every entry is read, and its digest computed anew), or ends before the cursor is ErrorCode::invalid_input.
  [[nodiscard]] static Result<std::unique_ptr<Ledger>> open(const std::filesystem::path& path, std::uint64_t cursor);
  ~Ledger();
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  /// The entry of step next_step(), any other being ErrorCode::internal; about 40 microseconds and 3 a row (pipestill-bench ledger), and now and then some milliseconds, when the log
  /// goes into the file. Returns the cumulative digest behind it.
  /// Where an expectation stands at that step, all that the digest includes must be as it says, or it is ErrorCode::backend_failed, naming the
  /// step, the first column that differs and both values; its entry stays as it is, but for what was observed: the times are those of now, and
  /// attempts and tokens paid add up. After an error nothing has changed.
  [[nodiscard]] Result<Sha256Digest> append(const LedgerEntry& entry, const LedgerObserved& observed);

  /// An entry before next_step(), or an expectation.
  [[nodiscard]] Result<LedgerRecord> read(std::uint64_t step);
  [[nodiscard]] std::uint64_t next_step() const;
  /// The cumulative digest before next_step(). Expectations do not count.
  [[nodiscard]] Sha256Digest digest() const;
  /// Entries from next_step() on.
  [[nodiscard]] std::uint64_t expectations() const;
  /// Takes the expectations from step `from` on away, which is not before next_step(): the run ends before them, or computes something else.
  [[nodiscard]] Result<void> drop_expectations(std::uint64_t from);
  /// The recipe's paths start elsewhere from now on.
  [[nodiscard]] Result<void> set_origin(const LedgerOrigin& origin);
  /// What was appended until now survives a loss of power. May be called while another thread appends.
  [[nodiscard]] Result<void> sync();
  /// Ends the writing: afterwards the file can be read anywhere, and nothing else is left beside it. At most once; nothing may follow.
  [[nodiscard]] Result<void> close();

 private:
  struct Writing;
  explicit Ledger(std::unique_ptr<Writing> writing);
  std::unique_ptr<Writing> writing_;
};

/// Reads the ledger of a run that has ended, in whatever way. Beside a killed run's file it may leave run.sqlite-shm, which SQLite makes to read
/// the log that was left.
class LedgerReader {
 public:
  /// ErrorCode::invalid_input as Ledger::open(), but digests are not computed; ErrorCode::backend_failed while the run goes on.
  [[nodiscard]] static Result<LedgerReader> open(const std::filesystem::path& path);
  ~LedgerReader();
  LedgerReader(LedgerReader&&) noexcept;
  LedgerReader& operator=(LedgerReader&&) noexcept;

  [[nodiscard]] const LedgerOrigin& origin() const;
  /// By step; a step that is missing is passed over. Empty at the end. A record that could not have been written so is ErrorCode::invalid_input,
  /// naming step and column.
  [[nodiscard]] Result<std::optional<LedgerRecord>> next();
  /// A step that has rows in the file and no batch; empty: none.
  [[nodiscard]] Result<std::optional<std::int64_t>> step_without_batch();

 private:
  struct Reading;
  explicit LedgerReader(std::unique_ptr<Reading> reading);
  std::unique_ptr<Reading> reading_;
};

}  // namespace pipestill
