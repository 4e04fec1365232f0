#pragma once
// The libraries below the embedded models, on which their bits depend.
#include <map>
#include <string>

namespace pipestill::embedded {

/// `libtorch`, `onednn`: versions; `onednn_isa`: the instruction set that its kernels are picked by.
[[nodiscard]] std::map<std::string, std::string> library_identity();

}  // namespace pipestill::embedded
