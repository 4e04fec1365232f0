#pragma once
// The embedded models, on libtorch, behind the training port. This header and its factory need no libtorch: it lives in a module.
#include <memory>

#include "graph/base/description.hpp"
#include "graph/base/error.hpp"
#include "ports/embedded/torch_options.hpp"
#include "ports/training/training_client.hpp"

namespace pipestill {

/// The keys that the client "torch" reads from the recipe's section of the student.
[[nodiscard]] Description describe_torch_training();
/// What its capabilities() will say; loads nothing.
[[nodiscard]] TrainingCapabilities torch_training_capabilities();
/// Loads nothing yet: the first start_session loads the module, which takes about half a second. ErrorCode::invalid_input if the module is
/// missing, or for options out of range. The client computes on one thread of its own, on which completions are called too; its sessions and their requests keep that
/// thread alive.
[[nodiscard]] Result<std::shared_ptr<TrainingClient>> make_torch_training_client(TorchOptions options);

}  // namespace pipestill
