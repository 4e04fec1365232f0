// tokenize: how fast texts become tokens, and how the time of the worst texts grows.
#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <spdlog/fmt/fmt.h>

#include "bench/harness.hpp"
#include "bench/made_texts.hpp"
#include "bench/scenarios.hpp"
#include "ports/sha256.hpp"
#include "ports/text_file.hpp"
#include "ports/tokenizer/tokenizer.hpp"

namespace json = boost::json;

namespace pipestill::bench {
namespace {

constexpr double kGrowthGoal = 3.0;  // of the time, for twice the text: 2 is linear

struct TokenizeArguments {
  std::string tokenizer = "bytes", write;
  std::size_t repetitions = 5, megabytes = 2, document = 4096;
  bool json = false;
};

std::string digest_of(const std::vector<Token>& ids) {
  std::string text;
  for (const Token id : ids) text += std::to_string(id) + " ";
  return sha256_hex(text);
}

/// A text in documents, encoded by some threads, each of which takes its share of them.
struct TextRate {
  std::string text;
  std::size_t threads = 1;
  std::vector<std::string> documents = {};
  std::size_t bytes = 0;
  std::vector<double> rates = {};  ///< MB/s, 10^6 bytes by the wall clock
  std::string ids = {};            ///< digest of all ids, in order
};

Result<void> measure(TextRate& line, const Tokenizer& tokenizer) {
  std::vector<std::vector<std::vector<Token>>> ids(line.threads);
  std::vector<Result<void>> results(line.threads);
  const Stopwatch watch;
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < line.threads; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = t; i < line.documents.size(); i += line.threads) {
        auto encoded = tokenizer.encode(line.documents[i], SpecialText::recognise);
        if (!encoded) {
          results[t] = fail(encoded.error());
          return;
        }
        ids[t].push_back(*std::move(encoded));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  line.rates.push_back(static_cast<double>(line.bytes) * 1e-6 / watch.taken().wall_s);
  for (const auto& result : results) {
    if (!result) return result;
  }
  if (line.ids.empty()) {
    std::vector<Token> all;
    for (std::size_t i = 0; i < line.documents.size(); ++i) {
      const auto& document = ids[i % line.threads][i / line.threads];
      all.insert(all.end(), document.begin(), document.end());
    }
    line.ids = digest_of(all);
  }
  return {};
}

/// Seconds of processor time for texts of one kind, each twice as long as the one before.
struct Growth {
  std::string name;
  std::vector<std::size_t> bytes = {};
  std::vector<double> seconds = {};
  [[nodiscard]] double factor() const {  // of the last doubling, where fixed costs matter least
    return seconds[seconds.size() - 1] / std::max(seconds[seconds.size() - 2], 1e-9);
  }
};

Result<Growth> grow(const WorstText& worst, const Tokenizer& tokenizer, std::size_t most) {
  Growth growth{worst.name};
  for (std::size_t bytes = most / 8; bytes <= most; bytes *= 2) {
    const auto text = worst.make(bytes);
    double least = 0;
    for (int i = 0; i < 3; ++i) {
      const Stopwatch watch;
      const auto ids = tokenizer.encode(text, SpecialText::recognise);
      if (!ids) return fail(ids.error());
      const auto taken = watch.taken().cpu_s;
      least = i == 0 ? taken : std::min(least, taken);
    }
    growth.bytes.push_back(text.size());
    growth.seconds.push_back(least);
  }
  return growth;
}

int run_tokenize(const TokenizeArguments& arguments) {
  const Stopwatch loading;
  const auto tokenizer = Tokenizer::load(arguments.tokenizer);
  if (!tokenizer) return refuse(tokenizer.error());
  const double load_s = loading.taken().wall_s;
  std::vector<TextRate> lines;
  const std::size_t bytes = arguments.megabytes * 1'000'000;
  for (const auto& made : made_texts(bytes)) {
    if (!arguments.write.empty()) {
      if (auto written = write_text_file(std::filesystem::path(arguments.write) / (made.name + ".txt"), made.text); !written) return refuse(written.error());
    }
    for (const std::size_t threads : {1U, 2U}) {
      TextRate line{made.name, threads, documents_of(made.text, arguments.document), made.text.size()};
      lines.push_back(std::move(line));
    }
  }
  std::vector<Measure> measures;
  for (auto& line : lines) {
    if (auto warm_up = measure(line, **tokenizer); !warm_up) return refuse(warm_up.error());
    line.rates.clear();
    measures.push_back([&line, &tokenizer] { return measure(line, **tokenizer); });
  }
  const ForeignLoad load;
  if (auto measured = interleave(arguments.repetitions, measures); !measured) return refuse(measured.error());
  std::vector<Growth> growths;
  for (const auto& worst : worst_texts()) {
    auto growth = grow(worst, **tokenizer, bytes);
    if (!growth) return refuse(growth.error());
    growths.push_back(*std::move(growth));
  }
  const auto facts = context(load);
  if (arguments.json) {
    json::array rates, worst;
    for (const auto& line : lines) {
      rates.push_back(json::object{{"text", line.text}, {"bytes", line.bytes}, {"threads", line.threads}, {"mb_per_s", to_json(spread(line.rates))}, {"ids_sha256", line.ids}});
    }
    for (const auto& growth : growths) {
      worst.push_back(json::object{{"text", growth.name}, {"bytes", json::array(growth.bytes.begin(), growth.bytes.end())},
                                   {"cpu_s", json::array(growth.seconds.begin(), growth.seconds.end())}, {"factor", growth.factor()}, {"goal", kGrowthGoal},
                                   {"is_goal_met", growth.factor() <= kGrowthGoal}});
    }
    std::puts(json::serialize(json::object{{"scenario", "tokenize"}, {"tokenizer", arguments.tokenizer}, {"repetitions", arguments.repetitions}, {"document_bytes", arguments.document},
                                           {"load_s", load_s}, {"lines", std::move(rates)}, {"worst", std::move(worst)}, {"context", facts}}).c_str());
    return 0;
  }
  fmt::print("Texts of {} MB made here, in documents of about {} bytes, to ids of {} (loaded in {:.2f} s); MB/s by the wall clock, median (min to max) of {}.\n\n{:<16}{:<10}MB/s\n",
             arguments.megabytes, arguments.document, arguments.tokenizer, load_s, arguments.repetitions, "", "threads");
  for (const auto& line : lines) fmt::print("{:<16}{:<10}{}\n", line.text, line.threads, to_text(spread(line.rates), 1));
  fmt::print("\nWorst texts, each as one document: processor time of twice the text over that of the text; 2 is linear, goal at most {}.\n\n", kGrowthGoal);
  for (const auto& growth : growths) {
    fmt::print("{:<28}{:>10} bytes {:>8.3f} s   x {:.2f}   {}\n", growth.name, growth.bytes.back(), growth.seconds.back(), growth.factor(), verdict(kGrowthGoal, growth.factor()));
  }
  fmt::print("\n{}", context_line(facts));
  return 0;
}

}  // namespace

void add_tokenize(CLI::App& program, Action& action) {
  const auto arguments = std::make_shared<TokenizeArguments>();
  auto& command = *program.add_subcommand("tokenize", "Texts to token ids: MB/s on one thread and two, and the growth of the worst texts");
  command.add_option("--tokenizer", arguments->tokenizer, "A directory with a tokenizer, or \"bytes\"")->capture_default_str();
  command.add_option("--megabytes", arguments->megabytes, "Of each text")->capture_default_str()->check(CLI::Range(1, 1000));
  command.add_option("--document", arguments->document, "Bytes of a document, which is encoded at a time")->capture_default_str()->check(CLI::PositiveNumber);
  command.add_option("--repetitions", arguments->repetitions, "Measurements of every line")->capture_default_str()->check(CLI::PositiveNumber);
  command.add_option("--write", arguments->write, "Also write the texts into this directory");
  command.add_flag("--json", arguments->json, "Print one JSON object");
  command.footer("Example: pipestill-bench tokenize --tokenizer path/to/model --megabytes 4");
  command.callback([arguments, &action] { action = [arguments] { return run_tokenize(*arguments); }; });
}

}  // namespace pipestill::bench
