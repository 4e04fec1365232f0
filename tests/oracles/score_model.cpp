// score-model MODEL_DIR [--export DIR]: an embedded model's numbers, for comparison with other programs.
//
// For each line {"tokens":[...],"top_k":K,"greedy":N} of standard input writes one line: "logprobs" of the tokens (null where missing),
// "top" (K pairs of token and log-probability a position) and "greedy", the N tokens that follow at temperature 0. With --export, opens the
// model as a student and writes it out again.
#include <boost/json.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ports/sampling/torch_sampling_client.hpp"
#include "ports/training/torch_training_client.hpp"
#include "tests/oracles/values.hpp"

namespace {

namespace json = boost::json;
using namespace pipestill;
using oracles::value_of;
using oracles::value_of_call;

json::value number(const Logprob& x) { return x ? json::value(static_cast<double>(*x)) : json::value(nullptr); }

void export_model(const std::string& model, const std::filesystem::path& directory) {
  const auto client = value_of(make_torch_training_client({}));
  const auto student = value_of_call<std::unique_ptr<TrainingSession>>([&](auto done) { client->start_session({model, ""}, 0, {}, done); });
  std::filesystem::create_directories(directory);
  value_of_call<std::monostate>([&](auto done) { student->export_weights(directory, {}, done); });
}

void answer(SamplingSession& session, const json::object& line) {
  const auto tokens = json::value_to<std::vector<Token>>(line.at("tokens"));
  const auto score = value_of_call<Score>([&](auto done) { session.compute_logprobs({tokens, line.at("top_k").to_number<int>()}, {}, done); });
  json::array logprobs, top;
  for (const auto& x : score.own) logprobs.push_back(number(x));
  for (const auto& position : score.top) {
    auto& entries = top.emplace_back(json::array()).as_array();
    for (const auto& [token, logprob] : position) entries.push_back(json::array{token, static_cast<double>(logprob)});
  }
  json::object out{{"logprobs", std::move(logprobs)}, {"top", std::move(top)}};
  if (const auto count = line.at("greedy").to_number<int>(); count > 0) {
    const auto sampled = value_of_call<SampledSequence>([&](auto done) {
      session.sample({ModelInput::from_ints(tokens), {.max_tokens = count, .temperature = 0}}, {}, done);
    });
    out["greedy"] = json::value_from(sampled.tokens);
  }
  std::cout << json::serialize(out) << std::endl;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2 && !(argc == 4 && std::string(argv[2]) == "--export")) {
    std::fprintf(stderr, "usage: score-model MODEL_DIR [--export DIR]\n");
    return 2;
  }
  if (argc == 4) export_model(argv[1], argv[3]);
  const auto client = value_of(make_torch_sampling_client({}));
  const auto session = value_of_call<std::unique_ptr<SamplingSession>>([&](auto done) { client->start_session({argv[1], ""}, {}, done); });
  for (std::string line; argc == 2 && std::getline(std::cin, line);) answer(*session, json::parse(line).as_object());
} catch (const std::exception& e) {
  std::fprintf(stderr, "score-model: %s\n", e.what());
  return 1;
}
