#include "ports/sampling/torch_sampling_client.hpp"

#include <utility>

#include "ports/embedded/capabilities.hpp"
#include "ports/embedded/torch_module.hpp"

namespace pipestill {

Description describe_torch_sampling() {
  return {.name = "torch",
          .summary = "an embedded model on this machine's CPU: a directory with config.json and model.safetensors",
          .keys = {{.name = "compute_threads",
                    .type = KeyInfo::Type::integer,
                    .default_value = "1",
                    .help = "threads for one operation of the model; changes no result",
                    .minimum = 1,
                    .maximum = 256}}};
}

SamplingCapabilities torch_sampling_capabilities() { return embedded::sampling_capabilities(); }

Result<std::shared_ptr<SamplingClient>> make_torch_sampling_client(TorchOptions options) {
  if (auto sound = embedded::check_torch_options(options); !sound) return fail(std::move(sound.error()));
  auto module = embedded::load_torch_module();
  if (!module) return fail(std::move(module.error()));
  return (*module)->make_sampling_client(options);
}

}  // namespace pipestill
