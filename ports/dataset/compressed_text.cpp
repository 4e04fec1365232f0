#include <zlib.h>
#include <zstd.h>

#include <memory>
#include <string>

#include "ports/dataset/text_source.hpp"

namespace pipestill {
namespace {

constexpr std::size_t kPieceBytes = std::size_t{1} << 17;
constexpr int kGzipOnly = 16 + MAX_WBITS;  // zlib.h, inflateInit2: neither zlib's nor a bare stream
constexpr int kLargestWindowLog = 27;      // 128 MiB, what zstd itself takes without being told

tl::unexpected<Error> damaged(const SourceReader& source, const char* format, const char* why) {
  return fail(ErrorCode::invalid_input, "the dataset " + source.name() + " is not whole " + format + ": " + why + " in the " + std::to_string(source.bytes()) + " bytes read so far");
}

tl::unexpected<Error> cut_off(const SourceReader& source, const char* format) {
  return fail(ErrorCode::invalid_input, "the dataset " + source.name() + " is not whole " + format + ": it is cut off after " + std::to_string(source.bytes()) + " bytes");
}

/// zlib's state, given back at the end.
struct Inflater {
  z_stream stream = {};
  bool is_ready = ::inflateInit2(&stream, kGzipOnly) == Z_OK;
  Inflater() = default;
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  ~Inflater() { ::inflateEnd(&stream); }
};

}  // namespace

Result<void> read_gzip_text(SourceReader& source, const TextSink& sink) {
  Inflater inflater;
  if (!inflater.is_ready) return fail(ErrorCode::internal, "zlib cannot be started");
  auto& z = inflater.stream;
  std::string text(kPieceBytes, '\0');
  bool is_inside = true;  // of a member: an empty file has not even one
  for (;;) {
    const auto piece = source.next();
    if (!piece) return fail(piece.error());
    if (piece->empty()) {
      if (is_inside) return cut_off(source, "gzip");
      return {};
    }
    z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(piece->data()));  // zlib does not write there
    z.avail_in = static_cast<uInt>(piece->size());
    do {
      if (!is_inside) {
        if (z.avail_in == 0) break;
        if (::inflateReset(&z) != Z_OK) return fail(ErrorCode::internal, "zlib cannot go on");
        is_inside = true;
      }
      z.next_out = reinterpret_cast<Bytef*>(text.data());
      z.avail_out = static_cast<uInt>(text.size());
      const int status = ::inflate(&z, Z_NO_FLUSH);
      if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR) return damaged(source, "gzip", z.msg ? z.msg : "an error");
      is_inside = status != Z_STREAM_END;
      if (auto taken = sink(std::string_view(text).substr(0, text.size() - z.avail_out)); !taken) return taken;
    } while (z.avail_in > 0 || z.avail_out == 0);
  }
}

Result<void> read_zstd_text(SourceReader& source, const TextSink& sink) {
  const std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context(ZSTD_createDCtx(), &ZSTD_freeDCtx);
  if (!context || ZSTD_isError(ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, kLargestWindowLog))) {
    return fail(ErrorCode::internal, "libzstd cannot be started");
  }
  std::string text(kPieceBytes, '\0');
  bool is_inside = true;  // of a frame: an empty file has not even one
  for (;;) {
    const auto piece = source.next();
    if (!piece) return fail(piece.error());
    if (piece->empty()) {
      if (is_inside) return cut_off(source, "zstd");
      return {};
    }
    ZSTD_inBuffer in{piece->data(), piece->size(), 0};
    bool is_full = false;
    while (in.pos < in.size || is_full) {
      ZSTD_outBuffer out{text.data(), text.size(), 0};
      const std::size_t hint = ZSTD_decompressStream(context.get(), &out, &in);
      if (ZSTD_isError(hint)) return damaged(source, "zstd", ZSTD_getErrorName(hint));
      is_inside = hint != 0;
      is_full = is_inside && out.pos == out.size;  // there may be more of what was read
      if (auto taken = sink(std::string_view(text).substr(0, out.pos)); !taken) return taken;
    }
  }
}

}  // namespace pipestill
