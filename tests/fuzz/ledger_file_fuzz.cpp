// Bytes as run.sqlite: read as audit reads a ledger, and opened to go on at its begin and at some other step. corpus/ledger_file is made by make_databases.py.
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "ports/checkpoint/ledger.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace {

namespace fs = std::filesystem;
using namespace pipestill;
using pipestill::fuzz::require;

fs::path ledger_input() { return fuzz::scratch_directory() / "run.sqlite"; }

void write_ledger_input(const std::uint8_t* data, std::size_t size) {
  std::error_code ignored;
  for (const char* end : {"-wal", "-shm", "-journal"}) fs::remove(ledger_input().string() + end, ignored);
  fuzz::write_input(ledger_input(), data, size);
}

/// As they stand there; empty: the file was refused, at whatever place, as it should be.
std::optional<std::vector<LedgerRecord>> read_ledger_input(std::size_t most) {
  auto reader = LedgerReader::open(ledger_input());
  if (!reader) return fuzz::require_sound_refusal(reader.error()), std::nullopt;
  std::vector<LedgerRecord> records;
  for (;;) {
    auto record = reader->next();
    if (!record) return fuzz::require_sound_refusal(record.error()), std::nullopt;
    if (!*record) break;
    require(records.empty() || records.back().entry.step < (*record)->entry.step, "steps ascend");
    require(records.size() < most, "every entry takes a byte of the file at least");
    records.push_back(**std::move(record));
  }
  const auto stray = reader->step_without_batch();
  if (!stray) fuzz::require_sound_refusal(stray.error());
  return records;
}

/// Of the entries before `end`, each of which must have the digest of the columns up to it.
Sha256Digest require_digests(Ledger& ledger, std::uint64_t end) {
  auto digest = empty_ledger_digest();
  for (std::uint64_t step = 0; step < end; ++step) {
    const auto record = ledger.read(step);
    require(record.has_value(), record ? "" : "an accepted entry can be read: " + record.error().message);
    require(record->entry.step == step, "entries stand in their order, and none is missing");
    digest = ledger_digest(digest, record->entry);
    require(digest == record->digest, "no entry is accepted whose digest is not that of the columns up to it");
  }
  return digest;
}

/// Appends what is expected, or something new. Damage that only a writer meets is a refusal, too.
bool append_to_input(Ledger& ledger, std::uint64_t cursor) {
  LedgerEntry entry{.step = cursor, .rows = {{.outcome = "trained"}}, .datum_digest = "new"};
  std::optional<Sha256Digest> expected;
  if (ledger.expectations() > 0) {
    const auto record = ledger.read(cursor);
    require(record.has_value(), "an expectation can be read");
    entry = record->entry, expected = record->digest;
  }
  const auto appended = ledger.append(entry, {});
  if (!appended) return fuzz::require_sound_refusal(appended.error()), false;
  require(!expected || *appended == *expected, "an expectation that is met has its digest");
  return true;
}

void go_on_at(std::uint64_t cursor, const std::optional<std::vector<LedgerRecord>>& read, std::size_t most) {
  auto opened = Ledger::open(ledger_input(), cursor);
  if (!opened) return fuzz::require_sound_refusal(opened.error());
  auto& ledger = **opened;
  require(ledger.next_step() == cursor, "a run goes on where it was to");
  auto end = cursor + ledger.expectations();
  require(!read || read->size() == end, "what goes on has the entries that are read");
  require(require_digests(ledger, cursor) == ledger.digest(), "the digest is that of the entries before the cursor");
  const auto digest = require_digests(ledger, end);
  if (!append_to_input(ledger, cursor)) return;
  require(ledger.next_step() == cursor + 1, "what was appended counts");
  end = std::max(end, cursor + 1);
  if (const auto closed = ledger.close(); !closed) return fuzz::require_sound_refusal(closed.error());
  if (!read) return;
  const auto again = read_ledger_input(most);
  require(again && again->size() == end, "what was appended is read again");
  require(end > read->size() || again->empty() || again->back().digest == digest, "what was there is unchanged");
}

}  // namespace

PIPESTILL_FUZZ_TARGET(ledger_file) {
  write_ledger_input(data, size);
  const auto read = read_ledger_input(size);
  for (const std::uint64_t cursor : {std::uint64_t{0}, std::uint64_t{1} + size % 3}) {
    write_ledger_input(data, size);
    go_on_at(cursor, read, size + 4096);
  }
  return 0;
}
