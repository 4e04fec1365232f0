#pragma once
// SentencePiece's model files (protocol buffers, sentencepiece_model.proto), as far as a tokenizer needs them, and checked: the library trusts what it
// loads, and would read behind the ends of a damaged one.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "graph/base/error.hpp"

namespace pipestill::spm {

/// By the numbers of the format.
enum class PieceType : std::uint8_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

struct Piece {
  std::string text;
  float score = 0;
  PieceType type = PieceType::normal;
};

/// What happens to a text before it is cut into pieces, or to one that was put together.
struct TextRules {
  std::string charsmap = {};  ///< a double array of byte sequences and what replaces them; empty: nothing is replaced
  bool add_dummy_prefix = true, remove_extra_whitespaces = true, escape_whitespaces = true;
};

/// Two models that are equal here give the same ids and texts. Defaults are the format's.
struct ModelFile {
  std::vector<Piece> pieces = {};  ///< by id
  std::uint64_t algorithm = 1;     ///< unigram, BPE, word, char
  bool byte_fallback = false, treat_whitespace_as_suffix = false;
  std::string unk_surface = " \xe2\x81\x87 ";  ///< what an unknown piece decodes to
  std::string unk_piece = "<unk>", bos_piece = "<s>", eos_piece = "</s>", pad_piece = "<pad>";
  TextRules normalizer = {}, denormalizer = {};
  std::size_t self_test_bytes = 0;
};

inline constexpr std::size_t kMaxPieces = std::size_t{1} << 21, kMaxPieceBytes = 1024, kMaxSelfTestBytes = std::size_t{1} << 20;
/// Symbols that the library looks for begin with each other at most this often; it has room for 64.
inline constexpr std::size_t kMaxNestedSymbols = 32;
/// What one match of the normalizer's rules becomes; in use are 33.
inline constexpr std::size_t kMaxReplacementBytes = 256;

/// Reads and checks a model. The error is ErrorCode::invalid_input and begins with `place`: bytes that are no protocol buffers or end too early, fields of
/// another kind, no pieces, empty or equal pieces, other than one unknown piece, scores that are no numbers, tables of rules with ways out of them.
[[nodiscard]] Result<ModelFile> read_model(std::string_view bytes, const std::string& place);

/// Whether every search in the table of rules ends inside of it, and in a text. The error is a sentence without place.
[[nodiscard]] Result<void> check_charsmap(std::string_view charsmap);

}  // namespace pipestill::spm
