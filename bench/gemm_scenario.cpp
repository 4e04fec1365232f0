// gemm: the models' matrix products against oneDNN's own sgemm, on one thread.
#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <iterator>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <spdlog/fmt/fmt.h>

#include "bench/example_models.hpp"
#include "bench/harness.hpp"
#include "bench/product_timing.hpp"
#include "bench/scenarios.hpp"

namespace json = boost::json;

namespace pipestill::bench {
namespace {

constexpr double kGemmGoal = 0.8;  // of dnnl_sgemm's rate, at the reference shape

struct GemmArguments {
  ModelArguments models;
  std::size_t repetitions = 9;
  double seconds = 0.02;
  bool json = false;
};

/// Products that are measured one after the other and shown as one line.
struct Line {
  std::string name;
  bool has_goal = false;
  std::vector<ProductTiming> products = {};
  std::vector<double> ours = {}, dnnl = {}, ratio = {};  ///< GFLOP/s, and ours over dnnl

  [[nodiscard]] double flops_per_call() const {
    return std::accumulate(products.begin(), products.end(), 0.0, [](double sum, const auto& p) { return sum + flops({&p.product(), 1}); });
  }
};

std::string shape_of(const Product& p) { return fmt::format("{} x {} x {}", p.rows, p.in, p.out); }

void add(std::vector<Line>& lines, std::string name, std::span<const Product> products, bool has_goal = false) {
  lines.push_back({.name = std::move(name), .has_goal = has_goal});
  for (const auto& p : products) lines.back().products.emplace_back(p);
}

std::vector<Line> lines_of(std::span<const NamedModel> models) {
  std::vector<Line> lines;
  add(lines, shape_of(kReferenceProduct), {&kReferenceProduct, 1}, true);
  for (const auto& m : models) {
    std::vector<Product> seen;
    for (const auto& p : decode_products(m.config, kBatchRows)) {
      if (std::find(seen.begin(), seen.end(), p) != seen.end()) continue;
      seen.push_back(p);
      add(lines, fmt::format("{} decode, {}", m.role, shape_of(p)), {&p, 1});
    }
  }
  using Kind = Product::Kind;
  constexpr std::array<std::pair<Kind, const char*>, 3> kKinds{
      {{Kind::forward, "forward"}, {Kind::backward_input, "by input"}, {Kind::backward_weight, "by weight"}}};
  for (const auto& m : models) {
    const auto all = training_products(m.config, kBatchRows * kRowPositions, kBatchRows * kAnswerTokens);
    for (const auto& [kind, name] : kKinds) {
      std::vector<Product> some;
      std::copy_if(all.begin(), all.end(), std::back_inserter(some), [k = kind](const auto& p) { return p.kind == k; });
      add(lines, fmt::format("{} training, {} ({})", m.role, name, some.size()), some);
    }
  }
  return lines;
}

/// Both ways, in turn; who goes first alternates.
Result<void> measure(Line& line, double at_least_s) {
  const double each = at_least_s / static_cast<double>(line.products.size()), work = line.flops_per_call() * 1e-9;
  const bool is_ours_first = line.ours.size() % 2 == 0;
  for (const bool is_ours : {is_ours_first, !is_ours_first}) {
    double seconds = 0;
    for (auto& p : line.products) {
      const auto taken = is_ours ? Result<double>(p.ours(each)) : p.plain_dnnl(each);
      if (!taken) return fail(taken.error());
      seconds += *taken;
    }
    (is_ours ? line.ours : line.dnnl).push_back(work / seconds);
  }
  line.ratio.push_back(line.ours.back() / line.dnnl.back());
  return {};
}

json::object report(const Line& line) {
  const auto ratio = spread(line.ratio);
  return {{"name", line.name},
          {"products", line.products.size()},
          {"gflop", line.flops_per_call() * 1e-9},
          {"gflops", to_json(spread(line.ours))},
          {"dnnl_gflops", to_json(spread(line.dnnl))},
          {"ratio", to_json(ratio)},
          {"goal", line.has_goal ? json::value(kGemmGoal) : json::value(nullptr)},
          {"is_goal_met", line.has_goal ? json::value(ratio.median >= kGemmGoal) : json::value(nullptr)}};
}

int run_gemm(const GemmArguments& arguments) {
  const auto models = arguments.models.load();
  if (!models) return refuse(models.error());
  auto lines = lines_of(*models);
  std::vector<Measure> measures;
  for (auto& line : lines) {
    if (auto warm_up = measure(line, 0); !warm_up) return refuse(warm_up.error());
    line.ours.clear(), line.dnnl.clear(), line.ratio.clear();
    measures.push_back([&line, &arguments] { return measure(line, arguments.seconds); });
  }
  const ForeignLoad load;
  if (auto measured = interleave(arguments.repetitions, measures); !measured) return refuse(measured.error());
  auto facts = context(load);
  facts["onednn"] = onednn_version();
  if (arguments.json) {
    json::array out;
    for (const auto& line : lines) out.push_back(report(line));
    std::puts(json::serialize(json::object{{"scenario", "gemm"}, {"repetitions", arguments.repetitions}, {"threads", 1}, {"lines", std::move(out)}, {"context", facts}}).c_str());
    return 0;
  }
  fmt::print("float32 products, rows x in x out, on one thread: the models' gemm and one dnnl_sgemm; GFLOP/s of processor time, median (min to max) of {}.\n"
             "Training: {} rows of {} positions, {} of them targets; in brackets, how many products.\n\n{:<38}{:<26}{:<26}{:<26}\n",
             arguments.repetitions, kBatchRows, kRowPositions, kAnswerTokens, "", "gemm", "dnnl_sgemm", "ratio");
  for (const auto& line : lines) {
    const auto ratio = spread(line.ratio);
    fmt::print("{:<38}{:<26}{:<26}{:<26}{}\n", line.name, to_text(spread(line.ours), 1), to_text(spread(line.dnnl), 1), to_text(ratio, 2),
               line.has_goal ? fmt::format("goal {}: {}", kGemmGoal, verdict(ratio.median, kGemmGoal)) : "");
  }
  fmt::print("\n{}", context_line(facts));
  return 0;
}

}  // namespace

void add_gemm(CLI::App& program, Action& action) {
  const auto arguments = std::make_shared<GemmArguments>();
  auto& command = *program.add_subcommand("gemm", "The embedded models' matrix products against oneDNN's sgemm, on one thread");
  arguments->models.add_to(command);
  command.add_option("--repetitions", arguments->repetitions, "Measurements of every shape")->capture_default_str()->check(CLI::PositiveNumber);
  command.add_option("--seconds", arguments->seconds, "The least time of a measurement")->capture_default_str()->check(CLI::NonNegativeNumber);
  command.add_flag("--json", arguments->json, "Print one JSON object");
  command.footer("Example: pipestill-bench gemm --repetitions 15");
  command.callback([arguments, &action] { action = [arguments] { return run_gemm(*arguments); }; });
}

}  // namespace pipestill::bench
