#pragma once
// The dataset port: rows by number.
#include <boost/json/object.hpp>
#include <cstdint>
#include <string>

#include "graph/base/error.hpp"

namespace pipestill {

struct DatasetRow {
  boost::json::object fields;
  std::string where;  ///< for error texts, e.g. "train.jsonl:17"
};

/// Thread-safe. Rows do not change while the store is open.
class DatasetStore {
 public:
  virtual ~DatasetStore() = default;
  [[nodiscard]] virtual std::uint64_t size() const = 0;
  /// `index` is below size(). A row that is not a JSON object is ErrorCode::invalid_input, with its place.
  [[nodiscard]] virtual Result<DatasetRow> row(std::uint64_t index) = 0;
  /// SHA-256 of the content, in hexadecimal.
  [[nodiscard]] virtual std::string fingerprint() const = 0;
};

}  // namespace pipestill
