// Four threads for oneTBB, also on two cores: the laws want more of them than the machine may have.
#include <oneapi/tbb/global_control.h>

namespace {

const oneapi::tbb::global_control four_threads(oneapi::tbb::global_control::max_allowed_parallelism, 4);

}  // namespace
