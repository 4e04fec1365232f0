// pipestill order: in which order an epoch visits the rows, and which rows a mix's batches have.
#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "app/commands.hpp"
#include "app/exit_status.hpp"
#include "nodes/row_order.hpp"

namespace pipestill::app {
namespace {

struct OrderArguments {
  std::vector<std::uint64_t> rows, groups;
  std::uint64_t epoch = 0;
  std::string seed = "0";
  bool json = false;
};

// So that a place in a mix's stream of rows, epoch * rows * groups at most, fits in 64 bits.
constexpr std::uint64_t kMostRows = 100'000'000, kMostGroups = 65536, kMostEpochs = 1'000'000;

void print_order(const EpochOrder& order, bool as_json) {
  boost::json::array rows;
  if (as_json) rows.reserve(order.size());
  for (std::uint64_t k = 0; k < order.size(); ++k) {
    if (as_json) {
      rows.push_back(order[k]);
    } else {
      std::printf("%llu\n", static_cast<unsigned long long>(order[k]));
    }
  }
  if (as_json) std::puts(boost::json::serialize(boost::json::object{{"order", std::move(rows)}}).c_str());
}

/// A line a batch: "dataset:row ..."; as JSON, lists of [dataset, row].
void print_batches(RowOrder& order, std::uint64_t epoch, bool as_json) {
  boost::json::array batches;
  for (std::uint64_t batch = 0; batch < order.batches_per_epoch(); ++batch) {
    boost::json::array rows;
    std::string line;
    for (const auto& place : order.batch(epoch * order.batches_per_epoch() + batch)) {
      rows.push_back(boost::json::array{place.dataset, place.index});
      line += (line.empty() ? "" : " ") + std::to_string(place.dataset) + ":" + std::to_string(place.index);
    }
    if (as_json) {
      batches.push_back(std::move(rows));
    } else {
      std::puts(line.c_str());
    }
  }
  if (as_json) std::puts(boost::json::serialize(boost::json::object{{"batches", std::move(batches)}}).c_str());
}

int run_order(const OrderArguments& arguments) {
  const auto seed = BigSeed::parse(arguments.seed);
  if (!seed) return report({ErrorCode::invalid_input, "--seed: " + seed.error().message});
  for (const auto rows : arguments.rows) {
    if (rows > kMostRows) return report({ErrorCode::invalid_input, "--rows " + std::to_string(rows) + ": at most " + std::to_string(kMostRows)});
  }
  if (arguments.groups.empty() && arguments.rows.size() == 1) {
    print_order(EpochOrder(*seed, arguments.epoch, arguments.rows.front()), arguments.json);
    return kDone;
  }
  if (arguments.groups.size() != arguments.rows.size()) {
    return report({ErrorCode::invalid_input, "--groups: a mix has one for each --rows, and there are " + std::to_string(arguments.groups.size()) + " for " + std::to_string(arguments.rows.size())});
  }
  std::vector<DatasetShare> shares;
  for (std::size_t i = 0; i < arguments.rows.size(); ++i) shares.push_back({arguments.rows[i], arguments.groups[i]});
  const bool has_empty = std::ranges::any_of(shares, [](const DatasetShare& share) { return share.rows == 0 || share.groups == 0 || share.groups > kMostGroups; });
  if (has_empty) return report({ErrorCode::invalid_input, "a mix takes from 1 to " + std::to_string(kMostGroups) + " rows of each dataset a batch (--groups), and none has 0 rows (--rows)"});
  RowOrder order(*seed, std::move(shares));
  if (arguments.epoch > kMostEpochs) return report({ErrorCode::invalid_input, "--epoch " + std::to_string(arguments.epoch) + ": of a mix at most " + std::to_string(kMostEpochs)});
  print_batches(order, arguments.epoch, arguments.json);
  return kDone;
}

}  // namespace

void add_order(CLI::App& program, Action& action) {
  const auto arguments = std::make_shared<OrderArguments>();
  auto& command = *program.add_subcommand("order", "Print the order in which an epoch visits the rows: NumPy's default_rng(seed + epoch).permutation(rows)");
  command.add_option("--rows", arguments->rows, "Rows of the dataset; for a mix, once for each")->required()->expected(1)->allow_extra_args(false)->take_all();
  command.add_option("--groups", arguments->groups, "Of a mix: a dataset's rows in a batch (groups_per_batch), once for each; prints the epoch's batches")
      ->expected(1)
      ->allow_extra_args(false)
      ->take_all();
  command.add_option("--seed", arguments->seed, "The recipe's seed: a whole number of any size")->capture_default_str();
  command.add_option("--epoch", arguments->epoch, "From 0; of a mix, the first dataset's")->capture_default_str();
  command.add_flag("--json", arguments->json, R"(Print {"order":[...]} on one line; of a mix {"batches":[[[dataset,row],...],...]})");
  command.footer("Example: pipestill order --rows 10 --seed 42 --epoch 0 --json\n"
                 "         pipestill order --rows 10 --groups 3 --rows 4 --groups 1 --seed 42");
  command.callback([arguments, &action] { action = [arguments] { return run_order(*arguments); }; });
}

}  // namespace pipestill::app
