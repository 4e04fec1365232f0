#include "ports/embedded/library_identity.hpp"

#include <oneapi/dnnl/dnnl.h>
#include <torch/version.h>

namespace pipestill::embedded {
namespace {

std::string isa_name(dnnl_cpu_isa_t isa) {
  switch (isa) {
    case dnnl_cpu_isa_sse41: return "sse41";
    case dnnl_cpu_isa_avx: return "avx";
    case dnnl_cpu_isa_avx2: return "avx2";
    case dnnl_cpu_isa_avx512_core: return "avx512_core";
    case dnnl_cpu_isa_avx512_core_vnni: return "avx512_core_vnni";
    case dnnl_cpu_isa_avx512_core_bf16: return "avx512_core_bf16";
    default: return std::to_string(static_cast<int>(isa));
  }
}

}  // namespace

std::map<std::string, std::string> library_identity() {
  const auto* onednn = dnnl_version();
  return {{"libtorch", TORCH_VERSION},
          {"onednn", std::to_string(onednn->major) + "." + std::to_string(onednn->minor) + "." + std::to_string(onednn->patch)},
          {"onednn_isa", isa_name(dnnl_get_effective_cpu_isa())}};
}

}  // namespace pipestill::embedded
