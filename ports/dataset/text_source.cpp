#include "ports/dataset/text_source.hpp"

#include <utility>

namespace pipestill {

std::optional<TextFormat> text_format(const std::filesystem::path& path) {
  const auto name = path.filename().string();
  const auto ends = [&](std::string_view end) { return name.ends_with(end); };
  if (ends(".jsonl")) return TextFormat::plain;
  if (ends(".jsonl.gz")) return TextFormat::gzip;
  if (ends(".jsonl.zst")) return TextFormat::zstd;
  if (ends(".sqlite") || ends(".db")) return TextFormat::sqlite;
  return std::nullopt;
}

SourceReader::SourceReader(const FileHandle& file, std::filesystem::path path)
    : file_(file), path_(std::move(path)), buffer_(std::size_t{1} << 17, '\0') {}

Result<std::string_view> SourceReader::next() {
  const auto n = file_.read_at(buffer_.data(), buffer_.size(), bytes_);
  if (!n) return fail(ErrorCode::invalid_input, "cannot read the dataset " + name() + ": " + n.error().message);
  const std::string_view piece(buffer_.data(), *n);
  bytes_ += *n;
  hash_.update(piece);
  return piece;
}

Result<void> read_plain_text(SourceReader& source, const TextSink& sink) {
  for (;;) {
    const auto piece = source.next();
    if (!piece) return fail(piece.error());
    if (piece->empty()) return {};
    if (auto taken = sink(*piece); !taken) return taken;
  }
}

}  // namespace pipestill
