// One training step on a batch from a file, for a comparison with another program's (compare_torch.py).
// Usage: oracle-train-step MODEL_DIR BATCH.json OUT_DIR
// BATCH.json: {"loss": {"normalization", "micro_batch_rows"}, "adam": {"learning_rate", "beta1", "beta2", "eps", "weight_decay",
// "grad_clip_norm"}, "datums": [{"tokens": [...], "shape": [N] or [N, K], "target_tokens": [...], "weights": [...]}]}, tensors row-major.
// OUT_DIR receives the state after the step; stdout the metrics, as one JSON object.
#include <boost/json.hpp>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "ports/training/torch_training_client.hpp"
#include "tests/oracles/values.hpp"

using namespace pipestill;
using oracles::value_of;
using oracles::value_of_call;
namespace json = boost::json;

namespace {

Loss read_loss(const json::object& o) {
  const std::string name(o.at("normalization").as_string());
  return {.normalization = name == "sum"        ? Normalization::sum
                           : name == "seq_mean" ? Normalization::seq_mean
                                                : Normalization::token_mean,
          .micro_batch_rows = o.at("micro_batch_rows").to_number<std::size_t>()};
}

AdamParams read_adam(const json::object& o) {
  const auto number = [&o](const char* key) { return o.at(key).to_number<double>(); };
  return {.learning_rate = number("learning_rate"),
          .beta1 = number("beta1"),
          .beta2 = number("beta2"),
          .eps = number("eps"),
          .weight_decay = number("weight_decay"),
          .grad_clip_norm = number("grad_clip_norm")};
}

Datum read_datum(const json::object& o) {
  const auto shape = json::value_to<std::vector<std::int64_t>>(o.at("shape"));
  Datum datum;
  datum.model_input = ModelInput::from_ints(json::value_to<std::vector<Token>>(o.at("tokens")));
  datum.loss_fn_inputs["target_tokens"] = {json::value_to<std::vector<std::int64_t>>(o.at("target_tokens")), shape};
  datum.loss_fn_inputs["weights"] = {json::value_to<std::vector<float>>(o.at("weights")), shape};
  return datum;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 4) {
    std::fputs("usage: oracle-train-step MODEL_DIR BATCH.json OUT_DIR\n", stderr);
    return 2;
  }
  std::ifstream file(argv[2]);
  const auto text = std::string(std::istreambuf_iterator<char>(file), {});
  const auto batch = json::parse(text).as_object();
  std::vector<Datum> datums;
  for (const auto& datum : batch.at("datums").as_array()) datums.push_back(read_datum(datum.as_object()));

  const auto client = value_of(make_torch_training_client({}));
  const auto student = value_of_call<std::unique_ptr<TrainingSession>>([&](auto done) { client->start_session({argv[1], ""}, 0, {}, done); });
  const auto loss = read_loss(batch.at("loss").as_object());
  auto metrics = value_of_call<ForwardBackwardOutput>([&](auto done) { student->forward_backward(datums, loss, {}, done); }).metrics;
  const auto adam = read_adam(batch.at("adam").as_object());
  metrics.merge(value_of_call<OptimStepOutput>([&](auto done) { student->optim_step(adam, {}, done); }).metrics);
  const auto state = value_of_call<std::shared_ptr<const TrainingState>>([&](auto done) { student->capture_state({}, done); });
  std::filesystem::create_directories(argv[3]);
  if (const auto saved = state->save(argv[3]); !saved) throw std::runtime_error(saved.error().message);
  std::puts(json::serialize(json::value_from(metrics)).c_str());
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "oracle-train-step: %s\n", e.what());
  return 1;
}
