#include "ports/checkpoint/ledger_entry.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <string_view>
#include <tuple>

#include <spdlog/fmt/fmt.h>

#include "ports/printable.hpp"

namespace pipestill {
namespace {

template <class Owner, class T>
struct LedgerColumn {
  const char* name;
  T Owner::*member;
};
template <class Owner, class T>
constexpr LedgerColumn<Owner, T> ledger_column(const char* name, T Owner::*member) {
  return {name, member};
}

// The determined columns, in their order, once for the digest and for the comparison.
constexpr auto kColumnsBeforeRows = std::tuple{ledger_column("step", &LedgerEntry::step), ledger_column("epoch", &LedgerEntry::epoch), ledger_column("batch", &LedgerEntry::batch),
                                               ledger_column("student_version", &LedgerEntry::student_version)};
constexpr auto kColumnsOfRow = std::tuple{ledger_column("dataset", &LedgerRow::dataset),   ledger_column("row", &LedgerRow::index),
                                          ledger_column("content", &LedgerRow::content),   ledger_column("renderer", &LedgerRow::renderer),
                                          ledger_column("outcome", &LedgerRow::outcome),   ledger_column("num_tokens", &LedgerRow::num_tokens)};
constexpr auto kColumnsBehindRows =
    std::tuple{ledger_column("num_tokens", &LedgerEntry::num_tokens), ledger_column("datum_digest", &LedgerEntry::datum_digest), ledger_column("learning_rate", &LedgerEntry::learning_rate),
               ledger_column("distill_loss", &LedgerEntry::distill_loss), ledger_column("grad_norm", &LedgerEntry::grad_norm)};

void add_column(Sha256& hash, std::uint64_t value) { hash.number(value); }
void add_column(Sha256& hash, double value) { hash.number(std::bit_cast<std::uint64_t>(value)); }
void add_column(Sha256& hash, const std::string& value) { hash.field(value); }
void add_column(Sha256& hash, const Sha256Digest& value) { hash.field(digest_bytes(value)); }
template <class T>
void add_column(Sha256& hash, const std::optional<T>& value) {
  hash.number(value ? 1 : 0);
  if (value) add_column(hash, *value);
}
template <class Owner, class Columns>
void add_columns(Sha256& hash, const Owner& owner, const Columns& columns) {
  std::apply([&](const auto&... c) { (add_column(hash, owner.*c.member), ...); }, columns);
}

std::string shown_column(std::uint64_t value) { return std::to_string(value); }
std::string shown_column(double value) { return std::isfinite(value) ? fmt::format("{}", value) : fmt::format("\"{}\"", value); }
std::string shown_column(const std::string& value) { return '"' + printable(value, 200) + '"'; }
std::string shown_column(const Sha256Digest& value) { return '"' + to_hex(value) + '"'; }
template <class T>
std::string shown_column(const std::optional<T>& value) {
  return value ? shown_column(*value) : "null";
}

bool is_same_column(double a, double b) { return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b); }
bool is_same_column(const std::optional<double>& a, const std::optional<double>& b) { return a.has_value() == b.has_value() && (!a || is_same_column(*a, *b)); }
template <class T>
bool is_same_column(const T& a, const T& b) {
  return a == b;
}
template <class Owner, class Columns>
std::optional<LedgerDifference> difference_in(const Owner& a, const Owner& b, const Columns& columns, const std::string& prefix = {}) {
  std::optional<LedgerDifference> found;
  const auto compare = [&](const auto& c) {
    if (!found && !is_same_column(a.*c.member, b.*c.member)) found = LedgerDifference{prefix + c.name, shown_column(a.*c.member), shown_column(b.*c.member)};
  };
  std::apply([&](const auto&... c) { (compare(c), ...); }, columns);
  return found;
}

}  // namespace

Sha256Digest empty_ledger_digest() { return sha256("pipestill ledger 1"); }

Sha256Digest ledger_digest(const Sha256Digest& before, const LedgerEntry& entry) {
  Sha256 hash;
  hash.update(digest_bytes(before));
  add_columns(hash, entry, kColumnsBeforeRows);
  hash.number(entry.rows.size());
  for (const auto& row : entry.rows) add_columns(hash, row, kColumnsOfRow);
  add_columns(hash, entry, kColumnsBehindRows);
  return hash.finish();
}

std::optional<LedgerDifference> first_difference(const LedgerEntry& a, const LedgerEntry& b) {
  if (auto found = difference_in(a, b, kColumnsBeforeRows)) return found;
  for (std::size_t i = 0; i < std::max(a.rows.size(), b.rows.size()); ++i) {
    const auto place = "rows[" + std::to_string(i) + "]";
    const auto row_of = [i](const LedgerEntry& entry) {
      return i < entry.rows.size() ? fmt::format("row {} of dataset {}", entry.rows[i].index, entry.rows[i].dataset) : std::string("nothing");
    };
    if (i >= a.rows.size() || i >= b.rows.size()) return LedgerDifference{place, row_of(a), row_of(b)};
    if (auto found = difference_in(a.rows[i], b.rows[i], kColumnsOfRow, place + ".")) return found;
  }
  return difference_in(a, b, kColumnsBehindRows);
}

}  // namespace pipestill
