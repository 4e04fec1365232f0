#include "ports/training/torch_training_client.hpp"

#include <utility>

#include "ports/embedded/capabilities.hpp"
#include "ports/embedded/late_client.hpp"
#include "ports/embedded/model_files.hpp"
#include "ports/embedded/torch_module.hpp"

namespace pipestill {

Description describe_torch_training() {
  return {.name = "torch",
          .summary = "an embedded model on this machine's CPU: a config.json alone (random weights) or a directory with weights",
          .keys = {embedded::compute_threads_key()}};
}

TrainingCapabilities torch_training_capabilities() { return embedded::training_capabilities(); }

namespace {

class TorchTrainingClient final : public TrainingClient {
 public:
  explicit TorchTrainingClient(TorchOptions options) : late_(&embedded::TorchModule::make_training_client, options) {}

  void start_session(ModelRef model, std::uint64_t init_seed, std::stop_token stop, Completion<std::unique_ptr<TrainingSession>> done) override {
    late_.with_client([model = std::move(model), init_seed, stop, done = std::move(done)](Result<std::shared_ptr<TrainingClient>> client) mutable {
      if (client) (*client)->start_session(std::move(model), init_seed, stop, std::move(done));
      else done(fail(std::move(client.error())));
    });
  }
  Result<void> check(const ModelRef& model) const override { return embedded::check_model(model, true); }
  Result<std::optional<std::size_t>> vocab_size(const ModelRef& model) const override {
    return embedded::find_model_files(model, true).map([](const embedded::ModelFiles& files) { return std::optional(static_cast<std::size_t>(files.config.vocab_size)); });
  }
  Result<std::string> model_identity(const ModelRef& model) const override { return embedded::content_identity(model, true); }
  TrainingCapabilities capabilities() const override { return embedded::training_capabilities(); }

 private:
  embedded::LateClient<TrainingClient> late_;
};

}  // namespace

Result<std::shared_ptr<TrainingClient>> make_torch_training_client(TorchOptions options) {
  if (auto sound = embedded::check_torch_options(options); !sound) return fail(std::move(sound.error()));
  if (auto module = embedded::find_torch_module(); !module) return fail(std::move(module.error()));
  return std::make_shared<TorchTrainingClient>(options);
}

}  // namespace pipestill
