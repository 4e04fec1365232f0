#include "ports/dataset/row_index.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <type_traits>
#include <utility>

namespace pipestill {
namespace {

/// How an index file begins; then come the rows' beginnings and the gaps, all as this machine keeps its numbers.
struct IndexHeader {
  std::array<char, 8> magic = {'P', 'S', 'R', 'O', 'W', 'S', '0', '1'};
  std::uint64_t rows = 0, gaps = 0, text_bytes = 0;
  RowIndex::Origin origin = {};
  Sha256Digest body_hash = {};
  Sha256Digest header_hash = {};  ///< of all before it
};
static_assert(std::is_trivially_copyable_v<IndexHeader>);
static_assert(std::has_unique_object_representations_v<IndexHeader>, "no padding: every byte is written and hashed");

constexpr std::uint64_t kBodyBegin = sizeof(IndexHeader);
constexpr std::size_t kNumbersAtOnce = 8192;

template <class T>
std::string_view bytes_of(const T* values, std::size_t count) {
  return {reinterpret_cast<const char*>(values), count * sizeof(T)};
}

Sha256Digest hash_of(const IndexHeader& header) { return sha256(bytes_of(&header, 1).substr(0, offsetof(IndexHeader, header_hash))); }

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r") == std::string_view::npos; }

tl::unexpected<Error> not_an_index(const char* why) { return fail(ErrorCode::invalid_input, std::string("not a whole index of rows: ") + why); }

}  // namespace

RowIndex::Builder::Builder(FileHandle file) : file_(std::move(file)) { pending_.reserve(kNumbersAtOnce); }

Result<void> RowIndex::Builder::write(std::string_view bytes) {
  body_hash_.update(bytes);
  auto written = file_.write_at(bytes, kBodyBegin + written_);
  written_ += bytes.size();
  return written;
}

Result<void> RowIndex::Builder::end_line(std::uint64_t next_begin) {
  Result<void> written;
  if (is_line_blank_) {
    ++blank_lines_;
  } else {
    if (blank_lines_ != (gaps_.empty() ? 0 : gaps_.back().blank_lines)) gaps_.push_back({rows_, blank_lines_});
    pending_.push_back(line_begin_);
    ++rows_;
    if (pending_.size() == kNumbersAtOnce) {
      written = write(bytes_of(pending_.data(), pending_.size()));
      pending_.clear();
    }
  }
  line_begin_ = next_begin;
  is_line_blank_ = true;
  return written;
}

Result<void> RowIndex::Builder::add(std::string_view piece) {
  text_hash_.update(piece);
  for (std::size_t from = 0; from < piece.size();) {
    const std::size_t newline = piece.find('\n', from);
    is_line_blank_ = is_line_blank_ && is_blank(piece.substr(from, newline - from));
    if (newline == std::string_view::npos) break;
    from = newline + 1;
    if (auto ended = end_line(text_bytes_ + from); !ended) return ended;
  }
  text_bytes_ += piece.size();
  return {};
}

Result<RowIndex> RowIndex::Builder::finish() {
  auto ended = end_line(text_bytes_);  // the last line need not end in a newline
  if (ended) ended = write(bytes_of(pending_.data(), pending_.size()));
  if (ended) ended = write(bytes_of(gaps_.data(), gaps_.size()));
  if (!ended) return fail(std::move(ended.error()));
  RowIndex index;
  index.file_ = std::move(file_);
  index.rows_ = rows_;
  index.text_bytes_ = text_bytes_;
  index.gaps_ = std::move(gaps_);
  index.body_hash_ = body_hash_.finish();
  index.origin_.text_hash = text_hash_.finish();
  return index;
}

Result<void> RowIndex::seal(const Origin& origin) {
  origin_ = origin;
  IndexHeader header{.rows = rows_, .gaps = gaps_.size(), .text_bytes = text_bytes_, .origin = origin, .body_hash = body_hash_};
  header.header_hash = hash_of(header);
  return file_.write_at(bytes_of(&header, 1), 0);
}

Result<RowIndex> RowIndex::load(FileHandle file) {
  IndexHeader header;
  const auto magic = header.magic;
  const auto facts = file.facts();
  if (!facts) return fail(facts.error());
  const auto n = file.read_at(reinterpret_cast<char*>(&header), sizeof header, 0);
  if (!n) return fail(n.error());
  if (*n != sizeof header || header.magic != magic || header.header_hash != hash_of(header)) return not_an_index("its first bytes are others");
  const std::uint64_t body = facts->size - kBodyBegin;
  // Compared by division: the counts may be anything.
  if (header.rows > body / 8 || header.gaps > body / 16 || header.rows * 8 + header.gaps * 16 != body) return not_an_index("its length does not fit");
  if (header.gaps > header.rows) return not_an_index("it has more gaps than rows");
  RowIndex index;
  index.file_ = std::move(file);
  index.rows_ = header.rows;
  index.text_bytes_ = header.text_bytes;
  index.gaps_.resize(header.gaps);
  index.origin_ = header.origin;
  index.body_hash_ = header.body_hash;
  if (auto good = index.check_body(header.body_hash); !good) return fail(std::move(good.error()));
  return index;
}

Result<void> RowIndex::check_body(const Sha256Digest& expected) {
  Sha256 hash;
  std::vector<std::uint64_t> some(kNumbersAtOnce);
  std::uint64_t least = 0;  // that the next row's beginning may be
  for (std::uint64_t row = 0; row < rows_; row += some.size()) {
    some.resize(std::min<std::uint64_t>(kNumbersAtOnce, rows_ - row));
    const auto n = file_.read_at(reinterpret_cast<char*>(some.data()), some.size() * 8, kBodyBegin + row * 8);
    if (!n) return fail(n.error());
    if (*n != some.size() * 8) return not_an_index("it has become shorter");
    hash.update(bytes_of(some.data(), some.size()));
    for (const auto begin : some) {
      if (begin < least || begin >= text_bytes_) return not_an_index("a row lies outside the text");
      least = begin + 1;
    }
  }
  const auto n = file_.read_at(reinterpret_cast<char*>(gaps_.data()), gaps_.size() * sizeof gaps_[0], kBodyBegin + rows_ * 8);
  if (!n) return fail(n.error());
  if (*n != gaps_.size() * sizeof gaps_[0]) return not_an_index("it has become shorter");
  hash.update(bytes_of(gaps_.data(), gaps_.size()));
  for (std::size_t i = 0; i < gaps_.size(); ++i) {
    const bool is_after = i == 0 || (gaps_[i].row > gaps_[i - 1].row && gaps_[i].blank_lines > gaps_[i - 1].blank_lines);
    if (!is_after || gaps_[i].row >= rows_ || gaps_[i].blank_lines > text_bytes_) return not_an_index("a gap lies outside the text");
  }
  if (hash.finish() != expected) return not_an_index("its bytes have changed");
  return {};
}

Result<RowIndex::Place> RowIndex::place(std::uint64_t row) const {
  std::array<std::uint64_t, 2> begins{0, text_bytes_};
  const std::size_t bytes = row + 1 < rows_ ? 16 : 8;
  const auto n = file_.read_at(reinterpret_cast<char*>(begins.data()), bytes, kBodyBegin + row * 8);
  if (!n) return fail(ErrorCode::backend_failed, "cannot read the index of rows: " + n.error().message);
  // Checked when it was loaded; but a file can be written to by others.
  if (*n != bytes || begins[0] >= begins[1] || begins[1] > text_bytes_) return fail(ErrorCode::backend_failed, "the index of rows has changed since it was opened");
  return Place{begins[0], begins[1]};
}

std::uint64_t RowIndex::line(std::uint64_t row) const {
  const auto after = std::ranges::upper_bound(gaps_, row, {}, &Builder::Gap::row);
  return row + 1 + (after == gaps_.begin() ? 0 : std::prev(after)->blank_lines);
}

}  // namespace pipestill
