#pragma once
// RowOrder: which rows a batch has.
#include <cstdint>
#include <span>
#include <vector>

#include "ports/dataset/big_seed.hpp"
#include "ports/dataset/epoch_order.hpp"

namespace pipestill {

/// A row, and the pass through its dataset in which it comes; all from 0.
struct RowPlace {
  std::uint64_t dataset = 0, epoch = 0, index = 0;
  bool operator==(const RowPlace&) const = default;
};

/// What one dataset gives to a batch.
struct DatasetShare {
  std::uint64_t rows = 0;    ///< of the dataset
  std::uint64_t groups = 1;  ///< of them in a batch
  bool is_shuffled = true;   ///< false: in the file's order, every epoch
};

/// Batches of one dataset or of a mix. The first dataset's epoch is the run's: it has ceil(rows / groups) batches, of which the last may
/// take fewer rows from it, and none crosses it. The others run on across theirs: batch N takes the places N * groups to N * groups + groups - 1
/// of all their epochs one behind the other, each epoch in an order of its own. So a batch is a function of its number.
/// Keeps one epoch's order of each dataset (EpochOrder): cheap where batches are asked for in order. One thread at a time.
class RowOrder {
 public:
  /// No share is empty in rows or groups, except in an order that nobody asks.
  RowOrder(const BigSeed& seed, std::vector<DatasetShare> shares);

  [[nodiscard]] std::uint64_t batches_per_epoch() const;
  /// The rows of a batch of the run, the first dataset's first.
  [[nodiscard]] std::vector<RowPlace> batch(std::uint64_t step);

 private:
  struct Stream {
    DatasetShare share;
    EpochOrder order = {};
    std::uint64_t epoch = 0;  ///< whose order that is, if it has one
  };
  void take(std::vector<RowPlace>& places, std::size_t dataset, std::uint64_t epoch, std::uint64_t begin, std::uint64_t end);

  BigSeed seed_;
  std::vector<Stream> streams_;
};

}  // namespace pipestill
