#pragma once
// The border between libpipestill and the module that holds libsentencepiece.
//
// Debian's libsentencepiece has a copy of protocol buffers (3.14) inside and shows its symbols: in the scope of a whole program they would take the place of those
// of libprotobuf 3.21, on which libtorch stands, and break both. So it is linked by a module alone, whose names nobody else sees.
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "graph/base/error.hpp"
#include "ports/types.hpp"

namespace pipestill::spm {

/// A model as the library has it. Immutable, thread-safe.
class LibraryModel {
 public:
  virtual ~LibraryModel() = default;
  /// `text` is UTF-8.
  [[nodiscard]] virtual Result<std::vector<Token>> encode(std::string_view text) const = 0;
  /// `tokens` are in the vocabulary.
  [[nodiscard]] virtual Result<std::string> decode(const std::vector<Token>& tokens) const = 0;
  /// Control symbols alone.
  [[nodiscard]] virtual std::optional<Token> bos() const = 0;
  [[nodiscard]] virtual std::optional<Token> eos() const = 0;
};

/// What the module's one symbol, `pipestill_sentencepiece_module`, returns.
struct LibraryModule {
  const char* version;
  /// `bytes` has passed read_model(). ErrorCode::invalid_input, a sentence without place, for what the library refuses nevertheless.
  Result<std::unique_ptr<const LibraryModel>> (*load)(std::string_view bytes);
};

/// Loads pipestill_sentencepiece.so (ports/module_file.hpp says from where), once in a process. ErrorCode::invalid_input where it is missing or of another
/// version. Thread-safe; a failure is not remembered.
[[nodiscard]] Result<const LibraryModule*> load_library_module();

}  // namespace pipestill::spm
