#pragma once
// Options of the embedded models. Needs no libtorch.

namespace pipestill {

struct TorchOptions {
  int compute_threads = 1;  ///< threads for one operation; changes no bit of any result. 1 to 256
};

}  // namespace pipestill
