// pipestill store: what an answer store holds.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <spdlog/fmt/fmt.h>

#include <cstdio>
#include <memory>
#include <string>

#include "app/commands.hpp"
#include "app/exit_status.hpp"
#include "ports/checkpoint/answer_codec.hpp"
#include "ports/checkpoint/answer_store.hpp"

namespace pipestill::app {
namespace {

namespace json = boost::json;

struct StoreArguments {
  std::string file;
  bool json = false;
};

int show_stats(const StoreArguments& arguments, bool reads_all) {
  const auto stats = answer_store_stats(arguments.file, reads_all);
  if (!stats) return report(stats.error());
  if (arguments.json) {
    json::object by_kind;
    for (const auto& [kind, count] : stats->by_kind) by_kind[kind] = count;
    json::object out{{"answers", stats->answers}, {"payload_bytes", stats->bytes}, {"by_kind", std::move(by_kind)}};
    if (reads_all) out["damaged"] = stats->damaged;
    std::puts(json::serialize(out).c_str());
  } else {
    std::string kinds;
    for (const auto& [kind, count] : stats->by_kind) kinds += fmt::format("{}{} {}", kinds.empty() ? "" : ", ", count, kind);
    std::puts(fmt::format("{} answers ({}), {} bytes", stats->answers, kinds.empty() ? "none" : kinds, stats->bytes).c_str());
    if (reads_all) std::puts(stats->damaged == 0 ? "every one is whole" : fmt::format("{} damaged: they will be asked for again", stats->damaged).c_str());
  }
  return stats->damaged == 0 ? kDone : kDifferent;
}

json::array to_json(const std::vector<Logprob>& logprobs) {
  json::array list;
  for (const auto& logprob : logprobs) list.push_back(logprob ? json::value(*logprob) : json::value());
  return list;
}

json::object to_json(const StoredAnswer& stored) {
  json::object out{{"key", to_hex(stored.key)}, {"kind", stored.kind}};
  if (const auto sample = decode_sample(*stored.payload); sample) {
    out["tokens"] = json::array(sample->tokens.begin(), sample->tokens.end());
    out["logprobs"] = to_json(sample->logprobs);
    out["stop_reason"] = sample->stop_reason == StopReason::stop ? "stop" : "length";
  } else if (const auto score = decode_score(*stored.payload); score) {
    out["own"] = to_json(score->own);
    json::array positions;
    for (const auto& top : score->top) {
      json::array position;
      for (const auto& [token, logprob] : top) position.push_back(json::array{token, logprob});
      positions.push_back(std::move(position));
    }
    out["top"] = std::move(positions);
  }
  return out;
}

int run_export(const StoreArguments& arguments) {
  std::uint64_t damaged = 0;
  const auto read = read_answers(arguments.file, [&](const StoredAnswer& stored) {
    if (!stored.payload) return void(++damaged);
    std::puts(json::serialize(to_json(stored)).c_str());
  });
  if (!read) return report(read.error());
  if (damaged > 0) std::fprintf(stderr, "%llu damaged answers are left out\n", static_cast<unsigned long long>(damaged));
  return damaged == 0 ? kDone : kDifferent;
}

}  // namespace

void add_store(CLI::App& program, Action& action) {
  auto& command = *program.add_subcommand("store", "What an answer store (teacher.teacher_store, answers.sqlite) holds");
  command.require_subcommand(0, 1);  // none is an action of its own: CLI11's error would not name a word that is nothing to do
  command.callback([&command, &action] {
    if (command.get_subcommands().empty()) action = [] { return report({ErrorCode::invalid_input, "store needs to be told what to do: stats, verify or export (see pipestill store --help)"}); };
  });
  command.footer("Example: pipestill store verify answers.sqlite\nExit status 1: some answers are damaged.");
  const auto add = [&](const char* name, const char* what, auto run) {
    const auto arguments = std::make_shared<StoreArguments>();
    auto& one = *command.add_subcommand(name, what);
    one.add_option("FILE", arguments->file, "The store")->required();
    one.add_flag("--json", arguments->json, "Print the result as JSON on stdout");
    one.callback([arguments, run, &action] { action = [arguments, run] { return run(*arguments); }; });
  };
  add("stats", "How many answers of which kind, and their bytes", [](const StoreArguments& arguments) { return show_stats(arguments, false); });
  add("verify", "Read every answer and compare it with its checksum", [](const StoreArguments& arguments) { return show_stats(arguments, true); });
  add("export", "Every answer as a line of JSON, in the order they were committed", [](const StoreArguments& arguments) { return run_export(arguments); });
}

}  // namespace pipestill::app
