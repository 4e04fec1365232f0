#pragma once
// Options of the embedded models. Needs no libtorch.
#include <filesystem>

#include "ports/embedded/model_layout.hpp"  // check_model_config, check_model_directory: what `pipestill check` asks

namespace pipestill {

struct TorchOptions {
  int compute_threads = 1;  ///< threads for one operation; changes no bit of any result. 1 to 256
};

}  // namespace pipestill
