#include "ports/training/torch_training_client.hpp"

#include <utility>

#include "ports/embedded/capabilities.hpp"
#include "ports/embedded/torch_module.hpp"

namespace pipestill {

Description describe_torch_training() {
  return {.name = "torch",
          .summary = "an embedded model on this machine's CPU: a config.json alone (random weights) or a directory with weights",
          .keys = {{.name = "compute_threads",
                    .type = KeyInfo::Type::integer,
                    .default_value = "1",
                    .help = "threads for one operation of the model; changes no result",
                    .minimum = 1,
                    .maximum = 256}}};
}

TrainingCapabilities torch_training_capabilities() { return embedded::training_capabilities(); }

Result<std::shared_ptr<TrainingClient>> make_torch_training_client(TorchOptions options) {
  if (auto sound = embedded::check_torch_options(options); !sound) return fail(std::move(sound.error()));
  auto module = embedded::load_torch_module();
  if (!module) return fail(std::move(module.error()));
  return (*module)->make_training_client(options);
}

}  // namespace pipestill
