#include "ports/dataset/memory_store.hpp"

#include <boost/json/serialize.hpp>
#include <utility>

#include "ports/sha256.hpp"

namespace pipestill {

MemoryStore::MemoryStore(std::vector<boost::json::object> rows, std::string name) : rows_(std::move(rows)), name_(std::move(name)) {
  Sha256 hash;
  for (const auto& row : rows_) hash.update(boost::json::serialize(row)).update("\n");
  fingerprint_ = to_hex(hash.finish());
}

Result<DatasetRow> MemoryStore::row(std::uint64_t index) {
  if (index >= rows_.size()) return fail(ErrorCode::internal, name_ + " has no row " + std::to_string(index));
  return DatasetRow{rows_[index], name_ + ":" + std::to_string(index + 1)};
}

}  // namespace pipestill
