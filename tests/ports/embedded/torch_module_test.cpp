#include "ports/embedded/torch_module.hpp"

#include <doctest/doctest.h>

#include <future>

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
  const auto client = make_torch_sampling_client({});  // loads nothing yet
  REQUIRE(client);
  std::promise<Error> answered;
  (*client)->start_session({directory.path().string(), ""}, {}, Completion<std::unique_ptr<SamplingSession>>([&](auto session) {
                             REQUIRE_FALSE(session);
                             answered.set_value(session.error());
                           }));
  const auto error = answered.get_future().get();
  ::unsetenv("PIPESTILL_MODULE_DIR");
  CHECK(error.code == ErrorCode::invalid_input);
  CHECK(error.message.starts_with("cannot load the embedded models: "));
}

TEST_CASE("descriptions and capabilities need no module") {
  CHECK(describe_torch_sampling().keys.at(0).name == "compute_threads");
  CHECK(describe_torch_training().name == "torch");
  CHECK(torch_sampling_capabilities().is_deterministic);
  CHECK(torch_training_capabilities().losses == std::vector<std::string>{"cross_entropy"});
}
