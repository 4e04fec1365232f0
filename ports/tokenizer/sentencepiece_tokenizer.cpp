#include "ports/tokenizer/sentencepiece_tokenizer.hpp"

#include <algorithm>
#include <bit>

#include "ports/printable.hpp"
#include "ports/sha256.hpp"
#include "ports/text_file.hpp"
#include "ports/tokenizer/huggingface/utf8.hpp"
#include "ports/tokenizer/sentencepiece/library_module.hpp"
#include "ports/tokenizer/sentencepiece/model_file.hpp"

namespace pipestill {
namespace {

using spm::PieceType;

huggingface::AddedTokenMatcher match_controls(const spm::ModelFile& file) {
  std::vector<huggingface::AddedTokenMatcher::Entry> entries;
  for (std::size_t id = 0; id < file.pieces.size(); ++id) {
    const auto& piece = file.pieces[id];
    if (piece.type != PieceType::control) continue;
    entries.push_back({piece.text, {.id = static_cast<Token>(id), .content = piece.text, .special = true}});
  }
  return huggingface::AddedTokenMatcher(std::move(entries));
}

std::string digest_of(const spm::ModelFile& file) {
  Sha256 hash;
  hash.field("sentencepiece").number(file.algorithm).number((file.byte_fallback ? 1U : 0U) | (file.treat_whitespace_as_suffix ? 2U : 0U));
  for (const auto* text : {&file.unk_surface, &file.unk_piece, &file.bos_piece, &file.eos_piece, &file.pad_piece}) hash.field(*text);
  for (const auto* rules : {&file.normalizer, &file.denormalizer}) {
    hash.field(rules->charsmap);
    hash.number((rules->add_dummy_prefix ? 1U : 0U) | (rules->remove_extra_whitespaces ? 2U : 0U) | (rules->escape_whitespaces ? 4U : 0U));
  }
  hash.number(file.pieces.size());
  for (const auto& piece : file.pieces) {
    hash.field(piece.text).number(std::bit_cast<std::uint32_t>(piece.score)).number(static_cast<std::uint64_t>(piece.type));
  }
  return to_hex(hash.finish());
}

}  // namespace

SentencePieceTokenizer::SentencePieceTokenizer(std::string bytes, const spm::ModelFile& file, std::unique_ptr<const spm::LibraryModel> model)
    : bytes_(std::move(bytes)), model_(std::move(model)), symbols_(file.pieces.size()), controls_(match_controls(file)), fingerprint_(digest_of(file)) {
  for (std::size_t id = 0; id < symbols_.size(); ++id) {
    const auto& piece = file.pieces[id];
    if (piece.type == PieceType::control || piece.type == PieceType::user_defined) symbols_[id] = {piece.text, piece.type == PieceType::control};
  }
}

SentencePieceTokenizer::~SentencePieceTokenizer() = default;

Result<std::shared_ptr<const SentencePieceTokenizer>> SentencePieceTokenizer::parse(std::string model, const std::string& place) {
  const auto file = spm::read_model(model, place);
  if (!file) return fail(file.error());
  const auto module = spm::load_library_module();
  if (!module) return fail(module.error());
  auto loaded = (*module)->load(model);
  if (!loaded) return fail(loaded.error().code, place + " is no SentencePiece model that can be used: " + printable(loaded.error().message, 300));
  return std::shared_ptr<const SentencePieceTokenizer>(new SentencePieceTokenizer(std::move(model), *file, *std::move(loaded)));
}

Result<std::vector<Token>> SentencePieceTokenizer::encode(std::string_view text, SpecialText special) const {
  if (const auto valid = utf8::valid_prefix(text); valid < text.size()) {
    return fail(ErrorCode::invalid_input, "text to be encoded is not UTF-8 at byte " + std::to_string(valid + 1));
  }
  if (special == SpecialText::plain_text) return model_->encode(text);
  std::vector<Token> tokens;
  for (const auto& piece : controls_.split(text, true)) {
    if (piece.token) {
      tokens.push_back(*piece.token);
      continue;
    }
    const auto plain = model_->encode(piece.text);
    if (!plain) return plain;
    tokens.insert(tokens.end(), plain->begin(), plain->end());
  }
  return tokens;
}

Result<std::string> SentencePieceTokenizer::decode(std::span<const Token> tokens) const {
  std::string text;
  std::vector<Token> plain;
  const auto end_plain = [&]() -> Result<void> {
    if (plain.empty()) return {};
    const auto decoded = model_->decode(plain);
    if (!decoded) return fail(decoded.error());
    text += utf8::lossy(*decoded);
    plain.clear();
    return {};
  };
  for (const Token token : tokens) {
    if (token < 0 || static_cast<std::size_t>(token) >= symbols_.size()) {
      return fail(ErrorCode::invalid_input, "token " + std::to_string(token) + " is outside the vocabulary, which has the ids 0 to " + std::to_string(symbols_.size() - 1));
    }
    const auto& symbol = symbols_[static_cast<std::size_t>(token)];
    if (!symbol.is_control) {
      plain.push_back(token);
      continue;
    }
    if (auto done = end_plain(); !done) return fail(done.error());
    text += symbol.text;
  }
  if (auto done = end_plain(); !done) return fail(done.error());
  return text;
}

std::optional<Token> SentencePieceTokenizer::special_token(std::string_view text) const {
  if (text.empty()) return std::nullopt;
  const auto found = std::find_if(symbols_.begin(), symbols_.end(), [&](const Symbol& symbol) { return symbol.text == text; });
  return found == symbols_.end() ? std::nullopt : std::optional(static_cast<Token>(found - symbols_.begin()));
}

std::optional<Token> SentencePieceTokenizer::bos() const { return model_->bos(); }
std::optional<Token> SentencePieceTokenizer::eos() const { return model_->eos(); }

Result<void> SentencePieceTokenizer::save(const std::filesystem::path& directory) const { return write_text_file(directory / kFileName, bytes_); }

}  // namespace pipestill
