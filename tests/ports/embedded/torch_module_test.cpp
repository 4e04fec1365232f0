#include "ports/embedded/torch_module.hpp"

#include <doctest/doctest.h>

#include <cstdlib>

#include "tests/ports/embedded/support.hpp"

using namespace pipestill;
using namespace pipestill::test;

TEST_CASE("options out of range are refused before anything is loaded") {
  for (const int threads : {0, -1, 257}) {
    CHECK_FALSE(make_torch_sampling_client({threads}));
    CHECK_FALSE(make_torch_training_client({threads}));
  }
}

TEST_CASE("a file that is no module is one clear sentence") {
  const TemporaryDirectory directory;
  write_text(directory.path() / "pipestill_torch.so", "not a shared object");
  ::setenv("PIPESTILL_MODULE_DIR", directory.path().c_str(), 1);
  const auto client = make_torch_sampling_client({});
  ::unsetenv("PIPESTILL_MODULE_DIR");
  REQUIRE_FALSE(client);
  CHECK(client.error().code == ErrorCode::invalid_input);
  CHECK(client.error().message.starts_with("cannot load the embedded models: "));
}

TEST_CASE("descriptions and capabilities need no module") {
  CHECK(describe_torch_sampling().keys.at(0).name == "compute_threads");
  CHECK(describe_torch_training().name == "torch");
  CHECK(torch_sampling_capabilities().is_deterministic);
  CHECK(torch_training_capabilities().losses == std::vector<std::string>{"cross_entropy"});
}
