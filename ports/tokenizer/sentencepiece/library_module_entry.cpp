// The module: the one file that includes and links libsentencepiece.
#include <sentencepiece_processor.h>

#include <exception>
#include <utility>

#include "ports/tokenizer/sentencepiece/library_module.hpp"

// Of the library, but in none of its headers: what is below this level is not printed to stderr.
namespace sentencepiece::logging {
void SetMinLogLevel(int level);
}

namespace pipestill::spm {
namespace {

constexpr int kFatalOnly = 3;

/// The library's refusals and exceptions are errors here.
template <class T, class Call>
Result<T> guarded(const char* what, const Call& call) {
  try {
    T value{};
    const ::sentencepiece::util::Status status = call(value);
    if (status.ok()) return value;
    return fail(ErrorCode::invalid_input, std::string(what) + ": " + status.error_message());
  } catch (const std::exception& e) {
    return fail(ErrorCode::invalid_input, std::string(what) + ": " + e.what());
  }
}

std::optional<Token> token_if_there(int id) { return id < 0 ? std::nullopt : std::optional<Token>(id); }

class ProcessorModel final : public LibraryModel {
 public:
  ::sentencepiece::SentencePieceProcessor processor = {};

  [[nodiscard]] Result<std::vector<Token>> encode(std::string_view text) const override {
    return guarded<std::vector<Token>>("SentencePiece cannot encode this text", [&](std::vector<Token>& ids) { return processor.Encode(text, &ids); });
  }
  [[nodiscard]] Result<std::string> decode(const std::vector<Token>& tokens) const override {
    return guarded<std::string>("SentencePiece cannot decode these tokens", [&](std::string& text) { return processor.Decode(tokens, &text); });
  }
  [[nodiscard]] std::optional<Token> bos() const override { return token_if_there(processor.bos_id()); }
  [[nodiscard]] std::optional<Token> eos() const override { return token_if_there(processor.eos_id()); }
};

Result<std::unique_ptr<const LibraryModel>> load_model(std::string_view bytes) {
  ::sentencepiece::logging::SetMinLogLevel(kFatalOnly);
  auto model = std::make_unique<ProcessorModel>();
  const auto loaded = guarded<int>("SentencePiece refuses it", [&](int&) { return model->processor.LoadFromSerializedProto(bytes); });
  if (!loaded) return fail(loaded.error());
  return std::unique_ptr<const LibraryModel>(std::move(model));
}

}  // namespace
}  // namespace pipestill::spm

extern "C" __attribute__((visibility("default"))) const void* pipestill_sentencepiece_module() {
  static constexpr pipestill::spm::LibraryModule module{PIPESTILL_MODULE_VERSION, pipestill::spm::load_model};
  return &module;
}
