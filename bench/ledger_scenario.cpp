// ledger: what it costs a run to write down each batch, and whoever resumes it to read that again.
#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include <spdlog/fmt/fmt.h>

#include "bench/harness.hpp"
#include "bench/scenarios.hpp"
#include "bench/scratch_directory.hpp"
#include "ports/checkpoint/ledger.hpp"
#include "ports/conversation_digest.hpp"

namespace json = boost::json;

namespace pipestill::bench {
namespace {

struct LedgerArguments {
  std::vector<std::size_t> rows{1, 64, 256};
  std::uint64_t batches = 1000;
  std::size_t repetitions = 5;
  std::string directory;
  bool json = false;
};

struct LedgerSize {
  std::size_t rows = 0;                                         ///< of a batch
  std::vector<double> append_us = {}, append_cpu_us = {}, longest_us = {}, open_us = {};  ///< of a batch
  double bytes = 0;                                             ///< of the file, a batch
};

LedgerEntry batch_of(std::size_t rows) {
  LedgerEntry entry{.num_tokens = 20 * rows, .datum_digest = std::string(64, 'a'), .learning_rate = 1e-3, .distill_loss = 1.25, .grad_norm = 0.3};
  for (std::size_t i = 0; i < rows; ++i) {
    entry.rows.push_back({.index = 10'000 + i,
                          .content = sha256(std::to_string(i)),
                          .teacher = "examples/tasks/teacher/",
                          .renderer = "role_tokens",
                          .outcome = "trained",
                          .num_tokens = 20});
  }
  return entry;
}

Result<void> measure_ledger(LedgerSize& size, const std::filesystem::path& path, std::uint64_t batches) {
  std::error_code ignored;
  std::filesystem::remove(path, ignored);
  auto ledger = Ledger::create(path, {});
  if (!ledger) return fail(std::move(ledger.error()));
  auto entry = batch_of(size.rows);
  const auto per_batch = [&](double seconds) { return 1e6 * seconds / static_cast<double>(batches); };
  double longest = 0;
  const Stopwatch appending;
  for (entry.step = 0; entry.step < batches; ++entry.step) {
    const Stopwatch one;
    if (auto appended = (*ledger)->append(entry, {}); !appended) return fail(std::move(appended.error()));
    longest = std::max(longest, one.taken().wall_s);
  }
  const auto taken = appending.taken();
  if (auto closed = (*ledger)->close(); !closed) return closed;
  size.append_us.push_back(per_batch(taken.wall_s));
  size.append_cpu_us.push_back(per_batch(taken.cpu_s));
  size.longest_us.push_back(1e6 * longest);
  size.bytes = static_cast<double>(std::filesystem::file_size(path, ignored)) / static_cast<double>(batches);
  const Stopwatch opening;
  const auto opened = Ledger::open(path, batches);
  if (!opened) return fail(opened.error());
  size.open_us.push_back(per_batch(opening.taken().wall_s));
  return {};
}

/// Microseconds for the hash of a row's content.
double digest_us() {
  const std::vector<Message> messages{{.role = "user", .content = std::string(100, 'q')}, {.role = "assistant", .content = std::string(50, 'a')}};
  return 1e6 * per_call(0.2, [&] { (void)conversation_digest(messages, {}); }).cpu_s;
}

int run_ledger(const LedgerArguments& arguments) {
  const auto scratch = ScratchDirectory::make(arguments.directory);
  if (!scratch) return refuse(scratch.error());
  std::vector<LedgerSize> sizes;
  for (const auto rows : arguments.rows) sizes.push_back({.rows = rows});
  const ForeignLoad load;
  std::vector<Measure> measures;
  for (auto& size : sizes) measures.push_back([&] { return measure_ledger(size, (*scratch)->path() / "run.sqlite", arguments.batches); });
  if (auto measured = interleave(arguments.repetitions, measures); !measured) return refuse(measured.error());
  const auto of_row = digest_us();
  const auto facts = context(load);
  if (arguments.json) {
    json::array out;
    for (const auto& size : sizes) {
      out.push_back(json::object{{"rows", size.rows}, {"append_us", to_json(spread(size.append_us))}, {"append_cpu_us", to_json(spread(size.append_cpu_us))},
                                 {"longest_us", to_json(spread(size.longest_us))}, {"open_us", to_json(spread(size.open_us))}, {"bytes", size.bytes}});
    }
    std::puts(json::serialize(json::object{{"scenario", "ledger"}, {"batches", arguments.batches}, {"repetitions", arguments.repetitions}, {"sizes", std::move(out)},
                                           {"content_digest_us", of_row}, {"context", facts}}).c_str());
    return 0;
  }
  fmt::print("{} batches; microseconds a batch, median (min to max) of {}\n\n{:>6}  {:<26}{:<26}{:<28}{:<26}{}\n", arguments.batches, arguments.repetitions, "rows", "append",
             "append, processor", "the longest append", "open, every digest anew", "bytes");
  for (const auto& size : sizes) {
    fmt::print("{:>6}  {:<26}{:<26}{:<28}{:<26}{:.0f}\n", size.rows, to_text(spread(size.append_us), 0), to_text(spread(size.append_cpu_us), 0), to_text(spread(size.longest_us), 0),
               to_text(spread(size.open_us), 0), size.bytes);
  }
  fmt::print("\nThe hash of a row's content, 150 bytes in two messages: {:.2f} us.\n{}", of_row, context_line(facts));
  return 0;
}

}  // namespace

void add_ledger(CLI::App& program, Action& action) {
  const auto arguments = std::make_shared<LedgerArguments>();
  auto& command = *program.add_subcommand("ledger", "Writing batches into a ledger, and opening it again: time and bytes a batch");
  command.add_option("--rows", arguments->rows, "Rows of a batch, of each size")->capture_default_str()->delimiter(',')->check(CLI::Range(1, 65536));
  command.add_option("--batches", arguments->batches, "Batches of a ledger")->capture_default_str()->check(CLI::PositiveNumber);
  command.add_option("--repetitions", arguments->repetitions, "Measurements of every size")->capture_default_str()->check(CLI::PositiveNumber);
  command.add_option("--directory", arguments->directory, "Where temporary files go, and are removed again; default: $TMPDIR or /tmp");
  command.add_flag("--json", arguments->json, "Print one JSON object");
  command.footer("Example: pipestill-bench ledger --rows 64 --batches 10000");
  command.callback([arguments, &action] { action = [arguments] { return run_ledger(*arguments); }; });
}

}  // namespace pipestill::bench
