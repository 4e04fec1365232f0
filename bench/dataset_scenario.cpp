// dataset: what it takes to open a large dataset and to order its epochs: time and memory a row, and how they grow.
#include <malloc.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include <spdlog/fmt/fmt.h>

#include "bench/harness.hpp"
#include "bench/scenarios.hpp"
#include "bench/scratch_directory.hpp"
#include "ports/dataset/dataset_factory.hpp"
#include "ports/dataset/epoch_order.hpp"

namespace fs = std::filesystem;
namespace json = boost::json;

namespace pipestill::bench {
namespace {

constexpr double kBytesGoal = 16;  // a row, index and epoch order together
constexpr std::uint64_t kRowsOfGoal = 1'000'000;  // with fewer rows, what is measured is 3 MiB of buffers and code
constexpr std::uint64_t kRowsRead = 20'000;

struct DatasetArguments {
  std::vector<std::uint64_t> rows{100'000, 1'000'000, 10'000'000};
  std::size_t repetitions = 3;
  std::string directory;
  bool json = false;
};

/// Bytes of a line of /proc/self/status in kB; 0 where there is none.
double process_bytes(const char* key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(key)) return 1024 * std::stod(line.substr(line.find(':') + 1));
  }
  return 0;
}

/// The most memory that `work` has at a time, beyond what the process had before (proc(5), clear_refs).
template <class Work>
std::pair<double, Taken> peak_of(Work work) {
  ::malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << "5";  // the peak begins anew
  const double before = process_bytes("VmRSS");
  const Stopwatch watch;
  work();
  const auto taken = watch.taken();
  return {std::max(0.0, process_bytes("VmHWM") - before), taken};
}

struct Size {
  std::uint64_t rows = 0;
  std::vector<double> index_ns = {}, reopen_ns = {}, shuffle_ns = {}, read_us = {};  ///< processor time a row
  double text_bytes = 0, index_bytes = 0, peak_bytes = 0;                            ///< a row
};

Result<void> write_rows(const fs::path& path, std::uint64_t rows) {
  std::ofstream file(path, std::ios::binary);
  std::string block;
  for (std::uint64_t n = 0; n < rows && file; ++n) {
    block += fmt::format("{{\"prompt\":\"What is {} plus {}?\"}}\n", n, n * 7919 % 1'000'003);
    if (block.size() < (1U << 20) && n + 1 < rows) continue;
    file << block;
    block.clear();
  }
  file.close();
  if (!file) return fail(ErrorCode::backend_failed, "cannot write " + path.string() + ": is the disk full? (--directory)");
  std::error_code ignored;
  fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::hours(1), ignored);  // so old that a second opening trusts it
  return {};
}

/// Opens, orders and reads once, as a run does; then opens again.
Result<void> measure_size(Size& size, const fs::path& file, const fs::path& cache) {
  const auto rows = static_cast<double>(size.rows);
  fs::remove_all(cache);
  Result<std::unique_ptr<DatasetStore>> store;
  std::optional<EpochOrder> order;
  double shuffle_s = 0;
  const auto [peak, all] = peak_of([&] {
    store = open_dataset(file, {.cache = cache});
    if (!store) return;
    const Stopwatch shuffling;
    order.emplace(7, size.index_ns.size(), (*store)->size());
    shuffle_s = shuffling.taken().cpu_s;
  });
  if (!store) return fail(store.error());
  if ((*store)->size() != size.rows) return fail(ErrorCode::internal, "the index has another number of rows than the file");
  size.index_ns.push_back((all.cpu_s - shuffle_s) * 1e9 / rows);
  size.shuffle_ns.push_back(shuffle_s * 1e9 / rows);
  size.peak_bytes = std::max(size.peak_bytes, peak / rows);
  const auto some = std::min(kRowsRead, size.rows);
  const Stopwatch reading;
  for (std::uint64_t k = 0; k < some; ++k) {
    if (const auto row = (*store)->row((*order)[k]); !row) return fail(row.error());
  }
  size.read_us.push_back(reading.taken().cpu_s * 1e6 / static_cast<double>(some));
  size.text_bytes = static_cast<double>(fs::file_size(file)) / rows;
  size.index_bytes = 0;
  for (const auto& entry : fs::directory_iterator(cache)) size.index_bytes += static_cast<double>(entry.file_size()) / rows;
  const Stopwatch reopening;
  const auto again = open_dataset(file, {.cache = cache});
  if (!again) return fail(again.error());
  size.reopen_ns.push_back(reopening.taken().cpu_s * 1e9 / rows);
  return {};
}

json::object report(const Size& size, const Size& smallest) {
  const auto growth = [](const std::vector<double>& now, const std::vector<double>& then) { return spread(now).median / spread(then).median; };
  const double bytes = size.index_bytes + size.peak_bytes;
  return {{"rows", size.rows},
          {"text_bytes_per_row", size.text_bytes},
          {"index_ns_per_row", to_json(spread(size.index_ns))},
          {"reopen_ns_per_row", to_json(spread(size.reopen_ns))},
          {"shuffle_ns_per_row", to_json(spread(size.shuffle_ns))},
          {"read_us_per_row", to_json(spread(size.read_us))},
          {"index_growth", growth(size.index_ns, smallest.index_ns)},
          {"shuffle_growth", growth(size.shuffle_ns, smallest.shuffle_ns)},
          {"index_bytes_per_row", size.index_bytes},
          {"peak_bytes_per_row", size.peak_bytes},
          {"bytes_per_row", bytes},
          {"bytes_goal", size.rows >= kRowsOfGoal ? json::value(kBytesGoal) : json::value(nullptr)},
          {"is_goal_met", size.rows >= kRowsOfGoal ? json::value(bytes <= kBytesGoal) : json::value(nullptr)}};
}

int run_dataset(const DatasetArguments& arguments) {
  const auto scratch = ScratchDirectory::make(arguments.directory);
  if (!scratch) return refuse(scratch.error());
  std::vector<Size> sizes;
  const ForeignLoad load;
  for (const auto rows : arguments.rows) {
    Size size{.rows = rows};
    const auto file = (*scratch)->path() / "rows.jsonl", cache = (*scratch)->path() / "cache";
    if (auto written = write_rows(file, rows); !written) return refuse(written.error());
    for (std::size_t i = 0; i < arguments.repetitions; ++i) {
      if (auto measured = measure_size(size, file, cache); !measured) return refuse(measured.error());
    }
    sizes.push_back(std::move(size));
  }
  const auto facts = context(load);
  if (arguments.json) {
    json::array out;
    for (const auto& size : sizes) out.push_back(report(size, sizes.front()));
    std::puts(json::serialize(json::object{{"scenario", "dataset"}, {"repetitions", arguments.repetitions}, {"sizes", std::move(out)}, {"context", facts}}).c_str());
    return 0;
  }
  fmt::print("JSON Lines, opened for the first time, ordered for an epoch, read in that order, opened again. Processor time a row, median (min to max) of {};\n"
             "growth: times the smallest size's. Bytes a row: the index (on the disk here, in memory without dataset.cache), and the process's peak beyond what it had.\n\n"
             "{:>10}  {:<22}{:<8}{:<22}{:<8}{:<22}{:<22}{}\n",
             arguments.repetitions, "rows", "index, ns", "growth", "shuffle, ns", "growth", "opened again, ns", "read, us", "bytes: index + peak");
  const auto growth = [](const std::vector<double>& now, const std::vector<double>& then) { return spread(now).median / spread(then).median; };
  for (const auto& size : sizes) {
    const double bytes = size.index_bytes + size.peak_bytes;
    fmt::print("{:>10}  {:<22}{:<8.2f}{:<22}{:<8.2f}{:<22}{:<22}{:.1f} + {:.1f}{}\n", size.rows, to_text(spread(size.index_ns), 1),
               growth(size.index_ns, sizes.front().index_ns), to_text(spread(size.shuffle_ns), 1), growth(size.shuffle_ns, sizes.front().shuffle_ns),
               to_text(spread(size.reopen_ns), 1), to_text(spread(size.read_us), 1), size.index_bytes, size.peak_bytes,
               size.rows >= kRowsOfGoal ? fmt::format(", goal {}: {}", kBytesGoal, bytes <= kBytesGoal ? "met" : "missed") : "");
  }
  fmt::print("\n{}", context_line(facts));
  return 0;
}

}  // namespace

void add_dataset(CLI::App& program, Action& action) {
  const auto arguments = std::make_shared<DatasetArguments>();
  auto& command = *program.add_subcommand("dataset", "Opening a large dataset and ordering its epochs: time and memory a row, and how they grow");
  command.add_option("--rows", arguments->rows, "Rows of each size, the smallest first")->capture_default_str()->delimiter(',')->check(CLI::PositiveNumber);
  command.add_option("--repetitions", arguments->repetitions, "Measurements of every size")->capture_default_str()->check(CLI::PositiveNumber);
  command.add_option("--directory", arguments->directory, "Where temporary files go (500 MB for 10,000,000 rows), and are removed again; default: $TMPDIR or /tmp");
  command.add_flag("--json", arguments->json, "Print one JSON object");
  command.footer("Example: pipestill-bench dataset --rows 100000,1000000");
  command.callback([arguments, &action] { action = [arguments] { return run_dataset(*arguments); }; });
}

}  // namespace pipestill::bench
