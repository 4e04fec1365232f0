#include "nodes/row_order.hpp"

#include <algorithm>
#include <utility>

namespace pipestill {

RowOrder::RowOrder(const BigSeed& seed, std::vector<DatasetShare> shares) : seed_(seed) {
  for (const auto& share : shares) streams_.push_back({.share = share});
}

std::uint64_t RowOrder::batches_per_epoch() const {
  const auto& [rows, groups, is_shuffled] = streams_.front().share;
  return rows / groups + (rows % groups != 0 ? 1 : 0);
}

void RowOrder::take(std::vector<RowPlace>& places, std::size_t dataset, std::uint64_t epoch, std::uint64_t begin, std::uint64_t end) {
  auto& stream = streams_[dataset];
  if (stream.share.is_shuffled && (stream.order.size() == 0 || stream.epoch != epoch)) {
    stream.order = {};  // before the next one is made: never two at a time
    stream.order = EpochOrder(seed_, epoch, stream.share.rows);
    stream.epoch = epoch;
  }
  for (std::uint64_t place = begin; place < end; ++place) places.push_back({dataset, epoch, stream.share.is_shuffled ? stream.order[place] : place});
}

std::vector<RowPlace> RowOrder::batch(std::uint64_t step) {
  std::vector<RowPlace> places;
  const auto& first = streams_.front().share;
  const std::uint64_t begin = step % batches_per_epoch() * first.groups;
  take(places, 0, step / batches_per_epoch(), begin, std::min(begin + first.groups, first.rows));
  for (std::size_t i = 1; i < streams_.size(); ++i) {
    const auto& [rows, groups, is_shuffled] = streams_[i].share;
    for (std::uint64_t at = step * groups; at < (step + 1) * groups;) {
      const std::uint64_t end = std::min((at / rows + 1) * rows, (step + 1) * groups);  // of the epoch, or of the share
      take(places, i, at / rows, at % rows, at % rows + (end - at));
      at = end;
    }
  }
  return places;
}

}  // namespace pipestill
