#include "ports/dataset/indexed_text.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

namespace pipestill {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kProgressBytes = std::uint64_t{16} << 20;
/// File systems keep times in steps; a file changed later than this before its times were read may change again without a trace in them.
constexpr std::int64_t kSettledAfter = 2'000'000'000;  // ns; FAT's step is the longest
constexpr std::size_t kSpoolBytes = std::size_t{1} << 20;

/// Names in the cache that belong to one dataset, table or query.
struct CacheNames {
  fs::path index, text;
};

CacheNames cache_names(const fs::path& path, const DatasetOptions& options) {
  std::error_code ignored;
  auto whole = fs::weakly_canonical(path, ignored);
  if (whole.empty()) whole = path;
  Sha256 hash;
  hash.field(whole.string()).field(options.table).field(options.query);
  const auto stem = to_hex(hash.finish()).substr(0, 32);
  return {options.cache / (stem + ".rows"), options.cache / (stem + ".jsonl")};
}

tl::unexpected<Error> cannot_write(const char* what, const Error& error) {
  return fail(ErrorCode::backend_failed, std::string("cannot write ") + what + ": " + error.message);
}

/// A database whose latest changes lie beside it. Those are part of what is read, and in no fact of its file.
bool has_open_journal(const fs::path& path, TextFormat format) {
  if (format != TextFormat::sqlite) return false;
  std::error_code ignored;
  const auto size = fs::file_size(path.string() + "-wal", ignored);
  return !ignored && size > 0;
}

Result<Sha256Digest> hash_of_file(const FileHandle& file, const fs::path& path) {
  SourceReader reader(file, path);
  for (;;) {
    const auto piece = reader.next();
    if (!piece) return fail(piece.error());
    if (piece->empty()) return reader.hash();
  }
}

/// Whether the file is the one that was seen then.
enum class Seen { other, same_facts, same_hash };
Seen compare(const FileHandle& file, const fs::path& path, const FileFacts& then, const Sha256Digest& hash) {
  const auto now = file.facts();
  if (!now || now->size != then.size) return Seen::other;
  if (*now == then) return Seen::same_facts;
  const auto found = hash_of_file(file, path);
  return found && *found == hash ? Seen::same_hash : Seen::other;
}

/// Only the size, where the times are too fresh to tell the next change.
FileFacts settled(const FileFacts& facts) {
  const auto now = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  return facts.modified + kSettledAfter < now ? facts : FileFacts{.size = facts.size};
}

/// A file of the cache on its way; gone with this object unless it got its name.
struct CacheFile {
  fs::path path = {};  ///< empty: there is none
  CacheFile() = default;
  CacheFile(const CacheFile&) = delete;
  CacheFile& operator=(const CacheFile&) = delete;
  ~CacheFile() {
    std::error_code ignored;
    if (!path.empty()) fs::remove(path, ignored);
  }
  /// A cache that takes no file costs the next run some time, and this one nothing: the file stays open.
  void keep_as(const fs::path& name) {
    std::error_code error;
    fs::rename(path, name, error);
    if (!error) path.clear();
  }
};

/// Takes `source` where it holds the lines itself.
std::optional<IndexedText> load_from_cache(FileHandle& source, const fs::path& path, TextFormat format, const CacheNames& names) {
  auto file = FileHandle::open_for_update(names.index);
  if (!file) file = FileHandle::open_regular(names.index);  // a cache that can only be read
  if (!file) return std::nullopt;
  auto index = RowIndex::load(*std::move(file));
  if (!index) return std::nullopt;
  const auto origin = index->origin();
  const auto seen = compare(source, path, origin.source, origin.source_hash);
  if (seen == Seen::other) return std::nullopt;
  const auto made = seen == Seen::same_facts ? IndexedText::Made::from_cache : IndexedText::Made::from_cache_by_hash;
  auto spool_seen = Seen::same_facts;
  std::optional<FileHandle> spool;
  if (format != TextFormat::plain) {
    auto opened = FileHandle::open_regular(names.text);
    if (!opened) return std::nullopt;
    spool_seen = compare(*opened, names.text, origin.text, origin.text_hash);
    if (spool_seen == Seen::other) return std::nullopt;
    spool = *std::move(opened);
  }
  const auto facts = (spool ? *spool : source).facts(), source_facts = source.facts();
  if (!facts || !source_facts || facts->size != index->text_bytes()) return std::nullopt;
  if (seen == Seen::same_hash || spool_seen == Seen::same_hash) {  // so that the next run need not read it all; if that fails, it will
    (void)index->seal({settled(*source_facts), origin.source_hash, *facts, origin.text_hash});
  }
  return IndexedText{spool ? *std::move(spool) : std::move(source), *std::move(index), *facts, made};
}

/// Reads the source once, and makes index and lines of it.
class Maker {
 public:
  Maker(FileHandle source, const fs::path& path, TextFormat format, const DatasetOptions& options)
      : source_(std::move(source)), path_(path), format_(format), options_(options) {}

  Result<IndexedText> make() {
    if (auto opened = open_files(); !opened) return fail(std::move(opened.error()));
    const auto before = source_.facts();
    if (!before) return fail(ErrorCode::invalid_input, "cannot read the dataset " + path_.string() + ": " + before.error().message);
    auto hash = read(before->size);
    if (!hash) return fail(std::move(hash.error()));
    const auto after = source_.facts();
    if (!after || *after != *before) return fail(ErrorCode::invalid_input, "the dataset " + path_.string() + " was changed while it was read; start again when it is at rest");
    return finish(*before, *hash);
  }

 private:
  Result<void> open_files() {
    const bool is_kept = !options_.cache.empty();
    auto index = is_kept ? FileHandle::new_in(options_.cache, index_file_.path) : FileHandle::in_memory();
    if (!index) return cannot_write("the index of a dataset's rows", index.error());
    builder_.emplace(*std::move(index));
    if (format_ == TextFormat::plain) return {};
    auto text = is_kept ? FileHandle::new_in(options_.cache, text_file_.path) : FileHandle::temporary();
    if (!text) return cannot_write("a dataset's lines", text.error());
    text_ = *std::move(text);
    return {};
  }

  Result<Sha256Digest> read(std::uint64_t source_bytes) {
    SourceReader reader(source_, path_);
    std::uint64_t told = 0;
    const TextSink sink = [&](std::string_view piece) -> Result<void> {
      if (auto taken = take(piece); !taken) return taken;
      const auto bytes = format_ == TextFormat::sqlite ? builder_->text_bytes() : reader.bytes();
      if (options_.on_progress && bytes - told >= kProgressBytes) {
        told = bytes;
        options_.on_progress({bytes, format_ == TextFormat::sqlite ? 0 : source_bytes, builder_->rows()});
      }
      return {};
    };
    if (auto done = read_text(reader, sink); !done) return fail(std::move(done.error()));
    if (auto written = flush(); !written) return fail(std::move(written.error()));
    if (format_ == TextFormat::sqlite) return hash_of_file(source_, path_);
    return reader.hash();
  }
  Result<void> read_text(SourceReader& reader, const TextSink& sink) const {
    switch (format_) {
      case TextFormat::plain:
        return read_plain_text(reader, sink);
      case TextFormat::gzip:
        return read_gzip_text(reader, sink);
      case TextFormat::zstd:
        return read_zstd_text(reader, sink);
      case TextFormat::sqlite:
        return read_sqlite_text(path_, {options_.table, options_.query}, sink);
    }
    return fail(ErrorCode::internal, "no such format of a dataset");
  }

  Result<void> take(std::string_view piece) {
    if (piece.size() > options_.max_text_bytes - builder_->text_bytes()) {
      return fail(ErrorCode::invalid_input, "the dataset " + path_.string() + " holds more than the " + std::to_string(options_.max_text_bytes) + " bytes of text that a dataset may have");
    }
    if (auto added = builder_->add(piece); !added) return cannot_write("the index of a dataset's rows", added.error());
    if (!text_.is_open()) return {};
    spool_.append(piece);
    return spool_.size() < kSpoolBytes ? Result<void>() : flush();
  }
  Result<void> flush() {
    if (!text_.is_open() || spool_.empty()) return {};
    if (auto written = text_.write_at(spool_, spooled_); !written) return cannot_write(("the lines of " + path_.string()).c_str(), written.error());
    spooled_ += spool_.size();
    spool_.clear();
    return {};
  }

  Result<IndexedText> finish(const FileFacts& source, const Sha256Digest& source_hash) {
    auto index = builder_->finish();
    if (!index) return cannot_write("the index of a dataset's rows", index.error());
    if (options_.on_progress) options_.on_progress({format_ == TextFormat::sqlite ? index->text_bytes() : source.size, format_ == TextFormat::sqlite ? 0 : source.size, index->rows()});
    const auto names = cache_names(path_, options_);
    const bool is_kept = !options_.cache.empty() && !has_open_journal(path_, format_);
    if (is_kept && text_.is_open()) text_file_.keep_as(names.text);  // first: a rename changes the file's facts
    FileHandle& text = text_.is_open() ? text_ : source_;
    const auto facts = text.facts();
    if (!facts) return fail(facts.error());
    if (is_kept) {
      if (auto sealed = index->seal({settled(source), source_hash, *facts, index->text_hash()}); !sealed) return cannot_write("the index of a dataset's rows", sealed.error());
      index_file_.keep_as(names.index);
    }
    return IndexedText{std::move(text), *std::move(index), *facts, IndexedText::Made::anew};
  }

  FileHandle source_;
  const fs::path& path_;
  TextFormat format_;
  const DatasetOptions& options_;
  CacheFile index_file_, text_file_;
  std::optional<RowIndex::Builder> builder_;
  FileHandle text_;
  std::string spool_;
  std::uint64_t spooled_ = 0;
};

}  // namespace

Result<IndexedText> open_indexed_text(const fs::path& path, TextFormat format, const DatasetOptions& options) {
  auto source = FileHandle::open_regular(path);
  if (!source) return fail(std::move(source.error()));
  if (!options.cache.empty()) {
    std::error_code error;
    fs::create_directories(options.cache, error);
    if (error) return fail(ErrorCode::invalid_input, "cannot make the dataset's cache " + options.cache.string() + ": " + error.message());
    if (!has_open_journal(path, format)) {
      if (auto found = load_from_cache(*source, path, format, cache_names(path, options))) return *std::move(found);
    }
  }
  return Maker(*std::move(source), path, format, options).make();
}

}  // namespace pipestill
