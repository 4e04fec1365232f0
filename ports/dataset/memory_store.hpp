#pragma once
// Rows that are already in memory: for programs that bring their own data, and for tests.
#include <string>
#include <vector>

#include "ports/dataset/dataset_store.hpp"

namespace pipestill {

class MemoryStore final : public DatasetStore {
 public:
  /// Error texts call a row "<name>:<number from 1>".
  explicit MemoryStore(std::vector<boost::json::object> rows, std::string name = "memory");

  [[nodiscard]] std::uint64_t size() const override { return rows_.size(); }
  [[nodiscard]] Result<DatasetRow> row(std::uint64_t index) override;
  /// Over the rows as JSON text, one a line.
  [[nodiscard]] std::string fingerprint() const override { return fingerprint_; }

 private:
  std::vector<boost::json::object> rows_;
  std::string name_, fingerprint_;
};

}  // namespace pipestill
