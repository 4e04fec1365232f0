#include "ports/tokenizer/sentencepiece/model_file.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <optional>
#include <unordered_set>

#include "ports/printable.hpp"

namespace pipestill::spm {
namespace {

tl::unexpected<Error> refused(const std::string& sentence) { return fail(ErrorCode::invalid_input, sentence); }

// The wire format: https://protobuf.dev/programming-guides/encoding

enum class Wire : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

struct Field {
  std::uint64_t number = 0;
  Wire wire = Wire::varint;
  std::uint64_t value = 0;  ///< varint, fixed64, fixed32
  std::string_view bytes = {};
};

std::uint32_t little_endian_32(std::string_view bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value |= std::uint32_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  return value;
}

/// The fields of one message, one behind the other.
class Fields {
 public:
  explicit Fields(std::string_view message) : rest_(message) {}
  [[nodiscard]] bool at_end() const { return rest_.empty(); }

  /// Empty where the bytes are no field.
  std::optional<Field> next() {
    const auto tag = varint();
    if (!tag || *tag >> 3U == 0 || *tag >> 32U != 0) return std::nullopt;
    Field field{.number = *tag >> 3U};
    switch (*tag & 7U) {
      case 0: {
        const auto value = varint();
        if (!value) return std::nullopt;
        field.value = *value;
        return field;
      }
      case 1: return fixed(field, Wire::fixed64, 8);
      case 2: {
        const auto size = varint();
        if (!size || *size > rest_.size()) return std::nullopt;
        field.wire = Wire::bytes;
        field.bytes = take(static_cast<std::size_t>(*size));
        return field;
      }
      case 5: return fixed(field, Wire::fixed32, 4);
      default: return std::nullopt;  // groups, which the format does not have
    }
  }

 private:
  std::string_view take(std::size_t size) {
    const auto bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return bytes;
  }
  std::optional<Field> fixed(Field field, Wire wire, std::size_t size) {
    if (rest_.size() < size) return std::nullopt;
    field.wire = wire;
    const auto bytes = take(size);
    if (wire == Wire::fixed32) field.value = little_endian_32(bytes);
    return field;
  }
  std::optional<std::uint64_t> varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
      if (rest_.empty()) return std::nullopt;
      const auto byte = static_cast<unsigned char>(take(1).front());
      if (shift == 63 && byte > 1) return std::nullopt;
      value |= std::uint64_t{byte & 0x7fU} << shift;
      if (byte < 0x80) return value;
    }
    return std::nullopt;
  }

  std::string_view rest_;
};

/// Calls read(field) -> Result<void> for every field of `message`, which is named `what` in errors.
template <class Read>
Result<void> for_each_field(std::string_view message, const std::string& what, const Read& read) {
  for (Fields fields(message); !fields.at_end();) {
    const auto field = fields.next();
    if (!field) return refused(what + " is damaged or cut off: its bytes are no protocol buffer");
    if (auto done = read(*field); !done) return done;
  }
  return {};
}

Result<void> need(const Field& field, Wire wire, const std::string& what) {
  if (field.wire == wire) return {};
  return refused(what + ": field " + std::to_string(field.number) + " is of another kind than in a SentencePiece model");
}

Result<void> read_text(const Field& field, const std::string& what, std::string& text) {
  if (auto right = need(field, Wire::bytes, what); !right) return right;
  text = field.bytes;
  return {};
}

Result<void> read_bool(const Field& field, const std::string& what, bool& value) {
  if (auto right = need(field, Wire::varint, what); !right) return right;
  value = field.value != 0;
  return {};
}

Result<void> read_piece(std::string_view message, std::size_t id, std::vector<Piece>& pieces) {
  Piece piece;
  const auto what = "piece " + std::to_string(id);
  auto done = for_each_field(message, what, [&](const Field& field) -> Result<void> {
    switch (field.number) {
      case 1: return read_text(field, what, piece.text);
      case 2:
        if (auto right = need(field, Wire::fixed32, what); !right) return right;
        piece.score = std::bit_cast<float>(static_cast<std::uint32_t>(field.value));
        return {};
      case 3:
        if (auto right = need(field, Wire::varint, what); !right) return right;
        if (field.value < 1 || field.value > 6) return refused(what + " is of type " + std::to_string(field.value) + "; known are 1 to 6");
        piece.type = static_cast<PieceType>(field.value);
        return {};
      default: return {};
    }
  });
  if (!done) return done;
  if (piece.text.empty()) return refused(what + " is empty");
  if (piece.text.size() > kMaxPieceBytes) {
    return refused(what + " has " + std::to_string(piece.text.size()) + " bytes; at most " + std::to_string(kMaxPieceBytes) + " can be read");
  }
  if (!is_utf8(piece.text) || piece.text.find('\0') != std::string::npos) return refused(what + ", \"" + printable(piece.text) + "\", is no UTF-8 text without NUL");
  if (!std::isfinite(piece.score)) return refused(what + ", \"" + printable(piece.text) + "\", has a score that is no finite number");
  pieces.push_back(std::move(piece));
  return {};
}

Result<void> read_trainer_spec(std::string_view message, ModelFile& model) {
  const std::string what = "trainer_spec";
  return for_each_field(message, what, [&](const Field& field) -> Result<void> {
    switch (field.number) {
      case 3:
        if (auto right = need(field, Wire::varint, what); !right) return right;
        if (field.value < 1 || field.value > 4) {
          return refused(what + ".model_type is " + std::to_string(field.value) + "; known are 1 to 4 (unigram, BPE, word, char)");
        }
        model.algorithm = field.value;
        return {};
      case 24: return read_bool(field, what, model.treat_whitespace_as_suffix);
      case 35: return read_bool(field, what, model.byte_fallback);
      case 44: return read_text(field, what, model.unk_surface);
      case 45: return read_text(field, what, model.unk_piece);
      case 46: return read_text(field, what, model.bos_piece);
      case 47: return read_text(field, what, model.eos_piece);
      case 48: return read_text(field, what, model.pad_piece);
      default: return {};
    }
  });
}

Result<void> read_rules(std::string_view message, const std::string& what, TextRules& rules) {
  return for_each_field(message, what, [&](const Field& field) -> Result<void> {
    switch (field.number) {
      case 2: return read_text(field, what, rules.charsmap);
      case 3: return read_bool(field, what, rules.add_dummy_prefix);
      case 4: return read_bool(field, what, rules.remove_extra_whitespaces);
      case 5: return read_bool(field, what, rules.escape_whitespaces);
      default: return {};
    }
  });
}

Result<void> read_parts(std::string_view bytes, ModelFile& model) {
  return for_each_field(bytes, "the file", [&](const Field& field) -> Result<void> {
    if (field.number >= 1 && field.number <= 5) {
      if (auto right = need(field, Wire::bytes, "the file"); !right) return right;
    }
    switch (field.number) {
      case 1:
        if (model.pieces.size() == kMaxPieces) return refused("there are more than " + std::to_string(kMaxPieces) + " pieces");
        return read_piece(field.bytes, model.pieces.size(), model.pieces);
      case 2: return read_trainer_spec(field.bytes, model);
      case 3: return read_rules(field.bytes, "normalizer_spec", model.normalizer);
      case 4: model.self_test_bytes += field.bytes.size(); return {};
      case 5: return read_rules(field.bytes, "denormalizer_spec", model.denormalizer);
      default: return {};
    }
  });
}

/// Of symbols that begin with each other the library finds all at once, in a table of fixed size.
Result<void> check_nested_symbols(const std::vector<Piece>& pieces) {
  std::vector<std::string_view> symbols;
  for (const auto& piece : pieces) {
    if (piece.type == PieceType::user_defined) symbols.push_back(piece.text);
  }
  std::sort(symbols.begin(), symbols.end());
  std::vector<std::string_view> open;  // each begins the next, and all of them the current one
  for (const auto symbol : symbols) {
    while (!open.empty() && !symbol.starts_with(open.back())) open.pop_back();
    open.push_back(symbol);
    if (open.size() > kMaxNestedSymbols) {
      return refused("more than " + std::to_string(kMaxNestedSymbols) + " user-defined symbols begin with each other, up to \"" + printable(symbol) + "\"");
    }
  }
  return {};
}

Result<void> check_pieces(const ModelFile& model) {
  if (model.pieces.empty()) return refused("it has no pieces");
  std::unordered_set<std::string_view> texts;
  std::array<bool, 256> has_byte{};
  std::size_t unknown = 0;
  for (const auto& piece : model.pieces) {
    const auto shown = [&] { return "the piece \"" + printable(piece.text) + "\""; };
    if (!texts.insert(piece.text).second) return refused(shown() + " is there twice");
    if (piece.type == PieceType::unknown) ++unknown;
    if (piece.type != PieceType::byte) continue;
    if (!model.byte_fallback) return refused(shown() + " is a byte, but byte_fallback is off");
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    const auto high = piece.text.size() == 6 && piece.text.starts_with("<0x") && piece.text.back() == '>' ? kDigits.find(piece.text[3]) : kDigits.npos;
    const auto low = high == kDigits.npos ? kDigits.npos : kDigits.find(piece.text[4]);
    if (low == kDigits.npos) return refused(shown() + " is a byte and must be <0x00> to <0xFF>");
    has_byte[high * 16 + low] = true;
  }
  if (unknown != 1) return refused("it has " + std::to_string(unknown) + " unknown pieces; it must have one");
  if (model.byte_fallback && std::find(has_byte.begin(), has_byte.end(), false) != has_byte.end()) return refused("byte_fallback is on, but not every byte is a piece");
  return check_nested_symbols(model.pieces);
}

Result<void> check_model(const ModelFile& model) {
  if (auto right = check_pieces(model); !right) return right;
  if (model.self_test_bytes > kMaxSelfTestBytes) {
    return refused("self_test_data has " + std::to_string(model.self_test_bytes) + " bytes; at most " + std::to_string(kMaxSelfTestBytes) + " can be read");
  }
  for (const auto& text : {model.unk_surface, model.unk_piece, model.bos_piece, model.eos_piece, model.pad_piece}) {
    if (!is_utf8(text) || text.size() > kMaxPieceBytes) return refused("trainer_spec names a piece, \"" + printable(text) + "\", that is no UTF-8 text of at most " + std::to_string(kMaxPieceBytes) + " bytes");
  }
  if (auto right = check_charsmap(model.normalizer.charsmap); !right) return refused("normalizer_spec: " + right.error().message);
  if (auto right = check_charsmap(model.denormalizer.charsmap); !right) return refused("denormalizer_spec: " + right.error().message);
  return {};
}

/// A walk over the double array (Darts-clone's layout) as commonPrefixSearch goes, over every byte at every unit that can be reached.
class CharsmapWalk {
 public:
  CharsmapWalk(std::string_view units, std::string_view texts) : units_(units), texts_(texts), count_(units.size() / 4), matches_(count_, kNotSeen) {}

  Result<void> run() {
    // Depth first without recursion: a node is left when all its bytes are done.
    struct Node {
      std::size_t at;
      unsigned next_byte;
    };
    std::vector<Node> path;
    const auto enter = [&](std::size_t at) -> Result<void> {
      matches_[at] = kOpen;
      if (base_of(at) >= count_) return refused(kBroken);
      path.push_back({at, 0});
      return {};
    };
    if (auto done = enter(0); !done) return done;
    std::vector<std::uint8_t> most_below(count_, 0);  // rules that end at one of the nodes behind this one, along one way
    while (!path.empty()) {
      auto& node = path.back();
      if (node.next_byte < 256) {
        const auto child = base_of(node.at) ^ node.next_byte++;
        if (label_of(child) != (child ^ base_of(node.at))) continue;
        if (matches_[child] == kOpen || child == 0) return refused("its rules run in a circle");
        if (matches_[child] == kNotSeen) {
          if (auto done = enter(child); !done) return done;
        } else {
          most_below[node.at] = std::max(most_below[node.at], matches_[child]);
        }
        continue;
      }
      auto matches = most_below[node.at];
      if (node.at != 0 && has_value(node.at)) {
        if (auto right = check_text(value_of(base_of(node.at))); !right) return right;
        if (++matches > kMaxMatches) return refused("more than " + std::to_string(kMaxMatches) + " of its rules begin with each other");
      }
      matches_[node.at] = matches;
      path.pop_back();
      if (!path.empty()) most_below[path.back().at] = std::max(most_below[path.back().at], matches);
    }
    return {};
  }

 private:
  static constexpr std::uint8_t kNotSeen = 255, kOpen = 254;
  static constexpr std::uint8_t kMaxMatches = 32;  // what the library has room for
  static constexpr const char* kBroken = "its table of rules leads out of itself";

  [[nodiscard]] std::uint32_t unit(std::size_t at) const { return little_endian_32(units_.substr(4 * at, 4)); }
  [[nodiscard]] std::size_t base_of(std::size_t at) const {
    const auto bits = unit(at);
    return at ^ ((bits >> 10U) << ((bits & 0x200U) >> 6U));
  }
  [[nodiscard]] std::uint32_t label_of(std::size_t at) const { return unit(at) & 0x800000ffU; }
  [[nodiscard]] bool has_value(std::size_t at) const { return (unit(at) >> 8U & 1U) != 0; }
  [[nodiscard]] std::size_t value_of(std::size_t at) const { return unit(at) & 0x7fffffffU; }

  [[nodiscard]] Result<void> check_text(std::size_t begin) const {
    if (begin >= texts_.size() || (static_cast<unsigned char>(texts_[begin]) & 0xc0U) == 0x80U) return refused("a rule's replacement lies outside of its texts");
    const auto end = texts_.find('\0', begin);
    if (end == std::string_view::npos) return refused("a rule's replacement does not end");
    if (end - begin > kMaxReplacementBytes) return refused("a rule's replacement has " + std::to_string(end - begin) + " bytes; at most " + std::to_string(kMaxReplacementBytes) + " can be read");
    return {};
  }

  std::string_view units_, texts_;
  std::size_t count_;
  std::vector<std::uint8_t> matches_;  ///< by unit: rules that match along one way from here on
};

}  // namespace

Result<void> check_charsmap(std::string_view charsmap) {
  if (charsmap.empty()) return {};
  const std::size_t size = charsmap.size() < 4 ? 0 : little_endian_32(charsmap);
  // Blocks of 256 units: a base inside the table has all its 256 successors there.
  if (size < 1024 || size % 1024 != 0 || size >= charsmap.size() - 4) return refused("its table of rules has " + std::to_string(size) + " bytes of " + std::to_string(charsmap.size()));
  const auto texts = charsmap.substr(4 + size);
  if (!is_utf8(texts)) return refused("its rules' replacements are no UTF-8");
  return CharsmapWalk(charsmap.substr(4, size), texts).run();
}

Result<ModelFile> read_model(std::string_view bytes, const std::string& place) {
  ModelFile model;
  auto done = read_parts(bytes, model);
  if (done) done = check_model(model);
  if (!done) return refused(place + " is no SentencePiece model that can be used: " + done.error().message);
  return model;
}

}  // namespace pipestill::spm
