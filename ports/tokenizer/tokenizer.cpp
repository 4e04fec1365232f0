#include "ports/tokenizer/tokenizer.hpp"

#include <boost/json/value.hpp>
#include <system_error>

#include "ports/strict_json.hpp"
#include "ports/text_file.hpp"
#include "ports/tokenizer/bytes_tokenizer.hpp"
#include "ports/tokenizer/chars_tokenizer.hpp"
#include "ports/tokenizer/huggingface_tokenizer.hpp"
#include "ports/tokenizer/sentencepiece_tokenizer.hpp"

namespace pipestill {
namespace {

const std::string kAccepted = std::string("accepted: the name \"bytes\", a directory with ") + HuggingFaceTokenizer::kFileName + ", " +
                              SentencePieceTokenizer::kFileName + ", " + CharsTokenizer::kFileName + " or " + BytesTokenizer::kFileName + ", or such a file";

Result<std::shared_ptr<const Tokenizer>> load_file(const std::filesystem::path& path) {
  auto text = read_text_file(path, huggingface::kMaxFileBytes);
  if (!text) return fail(text.error());
  if (path.filename() == HuggingFaceTokenizer::kFileName) return HuggingFaceTokenizer::parse(*std::move(text), path.string(), path.parent_path());
  if (path.extension() == std::filesystem::path(SentencePieceTokenizer::kFileName).extension()) return SentencePieceTokenizer::parse(*std::move(text), path.string());
  const auto document = parse_strict_json(*text, path.string());
  if (!document) return fail(document.error());
  const auto* object = document->if_object();
  const auto* type = object ? object->if_contains("type") : nullptr;
  if (type && *type == "chars") return CharsTokenizer::parse(*text, path.string());
  if (type && *type == "bytes" && object->size() == 1) return std::make_shared<BytesTokenizer>();
  return fail(ErrorCode::invalid_input,
              path.string() + " is no vocabulary: unless its name is " + HuggingFaceTokenizer::kFileName +
                  " or ends in .model, its key \"type\" must be \"chars\", or \"bytes\" and the only key");
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> Tokenizer::load(const std::string& name_or_path) {
  if (name_or_path == "bytes") return std::make_shared<BytesTokenizer>();
  const std::filesystem::path path(name_or_path);
  std::error_code ec;
  if (std::filesystem::is_regular_file(path, ec)) return load_file(path);
  if (!std::filesystem::is_directory(path, ec)) {
    return fail(ErrorCode::invalid_input, "there is no tokenizer \"" + name_or_path + "\"; " + kAccepted);
  }
  if (std::filesystem::exists(path / HuggingFaceTokenizer::kFileName, ec)) return load_file(path / HuggingFaceTokenizer::kFileName);
  if (std::filesystem::exists(path / SentencePieceTokenizer::kFileName, ec)) return load_file(path / SentencePieceTokenizer::kFileName);
  const bool has_chars = std::filesystem::exists(path / CharsTokenizer::kFileName, ec);
  const bool has_bytes = std::filesystem::exists(path / BytesTokenizer::kFileName, ec);
  if (has_chars && has_bytes) {
    return fail(ErrorCode::invalid_input, name_or_path + " has both " + CharsTokenizer::kFileName + " and " + BytesTokenizer::kFileName +
                                              ": name the file that is meant");
  }
  if (has_chars) return load_file(path / CharsTokenizer::kFileName);
  if (has_bytes) return load_file(path / BytesTokenizer::kFileName);
  return fail(ErrorCode::invalid_input, "the directory " + name_or_path + " has no tokenizer; " + kAccepted);
}

}  // namespace pipestill
