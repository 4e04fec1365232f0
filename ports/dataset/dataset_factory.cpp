#include "ports/dataset/dataset_factory.hpp"

#include "ports/dataset/jsonl_store.hpp"

namespace pipestill {

Result<std::unique_ptr<DatasetStore>> open_dataset(const std::filesystem::path& path, const DatasetOptions& options) {
  const auto refuse_path = [&](const std::string& what) { return fail(ErrorCode::invalid_input, "the dataset \"" + path.string() + "\" " + what); };
  const auto format = text_format(path);
  if (!format) {
    return fail(ErrorCode::invalid_input, "cannot tell what kind of dataset \"" + path.string() +
                                              "\" is; accepted: *.jsonl (JSON Lines), *.jsonl.gz, *.jsonl.zst, *.sqlite and *.db (SQLite)");
  }
  const bool is_database = *format == TextFormat::sqlite;
  if (is_database && options.table.empty() == options.query.empty()) return refuse_path("is a database; name either its table (dataset.table) or a query (dataset.query)");
  if (!is_database && !(options.table.empty() && options.query.empty())) return refuse_path("is no database (*.sqlite or *.db), so that dataset.table and dataset.query mean nothing");
  return JsonlStore::open(path, options);
}

}  // namespace pipestill
