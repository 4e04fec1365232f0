#include "ports/dataset/dataset_factory.hpp"

#include "ports/dataset/jsonl_store.hpp"

namespace pipestill {

Result<std::unique_ptr<DatasetStore>> open_dataset(const std::filesystem::path& path) {
  if (path.extension() != ".jsonl") {
    return fail(ErrorCode::invalid_input,
                "cannot tell what kind of dataset \"" + path.string() + "\" is; accepted: *.jsonl (JSON Lines, uncompressed)");
  }
  return JsonlStore::open(path);
}

}  // namespace pipestill
