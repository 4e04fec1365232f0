#include "ports/tokenizer/sentencepiece/library_module.hpp"

#include <mutex>

#include "ports/module_file.hpp"

namespace pipestill::spm {

Result<const LibraryModule*> load_library_module() {
  static std::mutex mutex;  // guards `loaded`
  static const LibraryModule* loaded = nullptr;
  const std::lock_guard lock(mutex);
  if (loaded) return loaded;
  const auto file = find_module("pipestill_sentencepiece.so", "tokenizer.model", "PIPESTILL_WITH_SENTENCEPIECE");
  if (!file) return fail(file.error());
  const auto opened = open_module(*file, "pipestill_sentencepiece_module", "SentencePiece models", ModuleScope::own);
  if (!opened) return fail(opened.error());
  loaded = static_cast<const LibraryModule*>(*opened);
  return loaded;
}

}  // namespace pipestill::spm
