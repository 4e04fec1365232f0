#pragma once
// Opens a dataset by its file name.
#include <filesystem>
#include <memory>

#include "ports/dataset/dataset_options.hpp"
#include "ports/dataset/dataset_store.hpp"

namespace pipestill {

/// `.jsonl`, `.jsonl.gz`, `.jsonl.zst`; `.sqlite` and `.db` with a table or a query. Any other name is ErrorCode::invalid_input and says what
/// would be accepted.
[[nodiscard]] Result<std::unique_ptr<DatasetStore>> open_dataset(const std::filesystem::path& path, const DatasetOptions& options = {});

}  // namespace pipestill
