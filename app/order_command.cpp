// pipestill order: in which order an epoch visits the rows.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "app/commands.hpp"
#include "app/exit_status.hpp"
#include "ports/dataset/epoch_order.hpp"

namespace pipestill::app {
namespace {

struct OrderArguments {
  std::uint64_t rows = 0, epoch = 0;
  std::string seed = "0";
  bool json = false;
};

constexpr std::uint64_t kMostRows = 100'000'000;

int run_order(const OrderArguments& arguments) {
  const auto seed = BigSeed::parse(arguments.seed);
  if (!seed) return report({ErrorCode::invalid_input, "--seed: " + seed.error().message});
  if (arguments.rows > kMostRows) return report({ErrorCode::invalid_input, "--rows " + std::to_string(arguments.rows) + ": at most " + std::to_string(kMostRows)});
  const EpochOrder order(*seed, arguments.epoch, arguments.rows);
  boost::json::array rows;
  for (std::uint64_t k = 0; k < order.size(); ++k) {
    if (arguments.json) rows.push_back(order[k]);
    else std::printf("%llu\n", static_cast<unsigned long long>(order[k]));
  }
  if (arguments.json) std::puts(boost::json::serialize(boost::json::object{{"order", std::move(rows)}}).c_str());
  return kDone;
}

}  // namespace

void add_order(CLI::App& program, Action& action) {
  const auto arguments = std::make_shared<OrderArguments>();
  auto& command = *program.add_subcommand("order", "Print the order in which an epoch visits the rows: NumPy's default_rng(seed + epoch).permutation(rows)");
  command.add_option("--rows", arguments->rows, "Rows of the dataset")->required();
  command.add_option("--seed", arguments->seed, "The recipe's seed: a whole number of any size")->capture_default_str();
  command.add_option("--epoch", arguments->epoch, "From 0")->capture_default_str();
  command.add_flag("--json", arguments->json, R"(Print {"order":[...]} on one line)");
  command.footer("Example: pipestill order --rows 10 --seed 42 --epoch 0 --json");
  command.callback([arguments, &action] { action = [arguments] { return run_order(*arguments); }; });
}

}  // namespace pipestill::app
