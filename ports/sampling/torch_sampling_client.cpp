#include "ports/sampling/torch_sampling_client.hpp"

#include <utility>

#include "ports/embedded/capabilities.hpp"
#include "ports/embedded/late_client.hpp"
#include "ports/embedded/model_files.hpp"
#include "ports/embedded/torch_module.hpp"

namespace pipestill {

Description describe_torch_sampling() {
  return {.name = "torch",
          .summary = "an embedded model on this machine's CPU: a directory with config.json and model.safetensors",
          .keys = {embedded::compute_threads_key()}};
}

SamplingCapabilities torch_sampling_capabilities() { return embedded::sampling_capabilities(); }

namespace {

class TorchSamplingClient final : public SamplingClient {
 public:
  explicit TorchSamplingClient(TorchOptions options) : late_(&embedded::TorchModule::make_sampling_client, options) {}

  void start_session(ModelRef model, std::stop_token stop, Completion<std::unique_ptr<SamplingSession>> done) override {
    late_.with_client([model = std::move(model), stop, done = std::move(done)](Result<std::shared_ptr<SamplingClient>> client) mutable {
      if (client) (*client)->start_session(std::move(model), stop, std::move(done));
      else done(fail(std::move(client.error())));
    });
  }
  Result<void> check(const ModelRef& model) const override { return embedded::check_model(model, false); }
  Result<std::optional<std::string>> tokenizer_fingerprint(const ModelRef& model) const override {
    return embedded::tokenizer_fingerprint(model);
  }
  Result<std::string> model_identity(const ModelRef& model) const override { return embedded::content_identity(model); }
  SamplingCapabilities capabilities() const override { return embedded::sampling_capabilities(); }

 private:
  embedded::LateClient<SamplingClient> late_;
};

}  // namespace

Result<std::shared_ptr<SamplingClient>> make_torch_sampling_client(TorchOptions options) {
  if (auto sound = embedded::check_torch_options(options); !sound) return fail(std::move(sound.error()));
  if (auto module = embedded::find_torch_module(); !module) return fail(std::move(module.error()));
  return std::make_shared<TorchSamplingClient>(options);
}

}  // namespace pipestill
