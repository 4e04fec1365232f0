#pragma once
// SentencePiece models of our own, a few pieces each: ids are the order in which pieces are added.
#include <bit>
#include <cstdint>
#include <string>
#include <string_view>

namespace pipestill::test {

/// Writes what ports/tokenizer/sentencepiece/model_file.hpp reads, and what it must refuse. Types and field numbers are the format's.
class SentencePieceModel {
 public:
  static constexpr int kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6;
  static constexpr int kUnigram = 1, kBpe = 2;

  explicit SentencePieceModel(int algorithm = kBpe) { trainer_number(3, static_cast<std::uint64_t>(algorithm)); }

  SentencePieceModel& piece(std::string_view text, float score = 0, int type = kNormal) {
    pieces_ += bytes_field(1, bytes_field(1, text) + fixed_field(2, score) + number_field(3, static_cast<std::uint64_t>(type)));
    return *this;
  }
  /// <unk>, <s>, </s>
  SentencePieceModel& usual_symbols() { return piece("<unk>", 0, kUnknown).piece("<s>", 0, kControl).piece("</s>", 0, kControl); }
  SentencePieceModel& every_byte() {
    trainer_number(35, 1);
    for (unsigned byte = 0; byte < 256; ++byte) piece(byte_piece(byte), 0, kByte);
    return *this;
  }
  SentencePieceModel& trainer_number(unsigned field, std::uint64_t value) {
    trainer_ += number_field(field, value);
    return *this;
  }
  SentencePieceModel& trainer_text(unsigned field, std::string_view text) {
    trainer_ += bytes_field(field, text);
    return *this;
  }
  SentencePieceModel& normalizer_number(unsigned field, std::uint64_t value) {
    normalizer_ += number_field(field, value);
    return *this;
  }
  SentencePieceModel& charsmap(std::string_view map) {
    normalizer_ += bytes_field(2, map);
    return *this;
  }
  /// Bytes behind all else.
  SentencePieceModel& raw(std::string_view bytes) {
    raw_ += bytes;
    return *this;
  }
  [[nodiscard]] std::string bytes() const { return pieces_ + bytes_field(2, trainer_) + bytes_field(3, normalizer_) + raw_; }

  static std::string byte_piece(unsigned byte) {
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    return std::string("<0x") + kDigits[byte >> 4U] + kDigits[byte & 15U] + ">";
  }
  static std::string number_field(unsigned field, std::uint64_t value) { return varint(std::uint64_t{field} << 3U) + varint(value); }
  static std::string bytes_field(unsigned field, std::string_view bytes) {
    return varint(std::uint64_t{field} << 3U | 2U) + varint(bytes.size()) + std::string(bytes);
  }
  static std::string fixed_field(unsigned field, float value) { return varint(std::uint64_t{field} << 3U | 5U) + little_endian(std::bit_cast<std::uint32_t>(value)); }
  static std::string little_endian(std::uint32_t value) {
    std::string out;
    for (unsigned i = 0; i < 4; ++i) out += static_cast<char>(value >> (8 * i) & 0xffU);
    return out;
  }

 private:
  static std::string varint(std::uint64_t value) {
    std::string out;
    for (; value > 0x7f; value >>= 7U) out += static_cast<char>((value & 0x7fU) | 0x80U);
    return out + static_cast<char>(value);
  }

  std::string pieces_ = {}, trainer_ = {}, normalizer_ = {}, raw_ = {};
};

/// A table of rules: "A", "AA" and so on up to `depth` become `replacement`.
/// The double array (Darts-clone's): the root leads to base 2, the i-th A to base 2 i + 4, where its value stands; nodes have odd places, bases even ones.
inline std::string charsmap_of_letters_a(unsigned depth, std::string_view replacement) {
  const auto base = [](unsigned i) { return 2 + 2 * i; };
  std::string units;
  for (int i = 0; i < 256; ++i) units += SentencePieceModel::little_endian(0x80000000U);  // no byte leads there
  const auto put = [&](unsigned at, std::uint32_t unit) { units.replace(4 * std::size_t{at}, 4, SentencePieceModel::little_endian(unit)); };
  put(0, base(0) << 10U);
  for (unsigned i = 0; i < depth; ++i) {
    const auto node = base(i) ^ 'A';
    put(node, ((node ^ base(i + 1)) << 10U) | 0x100U | 'A');
    put(base(i + 1), 0x80000000U);
  }
  return SentencePieceModel::little_endian(1024) + units + std::string(replacement) + '\0';
}

}  // namespace pipestill::test
