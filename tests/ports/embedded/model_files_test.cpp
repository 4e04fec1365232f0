#include "ports/embedded/model_files.hpp"

#include <doctest/doctest.h>

#include "ports/tokenizer/tokenizer.hpp"
#include "tests/ports/support.hpp"

using namespace pipestill;
using pipestill::testing::TempDir;

TEST_CASE("a model's tokenizer is the one in its directory, by its content") {
  const TempDir directory;
  const ModelRef model{directory.path().string(), ""};
  CHECK(embedded::tokenizer_fingerprint(model).value() == std::nullopt);
  const auto file = directory.write("chars.json", R"({"type":"chars","special_tokens":["<|end|>"],"eos_token":"<|end|>","characters":"ab"})");
  const auto fingerprint = embedded::tokenizer_fingerprint(model).value();
  CHECK(fingerprint == Tokenizer::load(file.string()).value()->fingerprint());
  CHECK(embedded::tokenizer_fingerprint({(directory.path() / "config.json").string(), ""}).value() == std::nullopt);

  directory.write("chars.json", R"({"type":"chars","special_tokens":["<|end|>"],"eos_token":"<|end|>","characters":"ba"})");
  CHECK(embedded::tokenizer_fingerprint(model).value() != fingerprint);
  directory.write("chars.json", "{");
  const auto damaged = embedded::tokenizer_fingerprint(model);
  REQUIRE(!damaged);
  CHECK(damaged.error().code == ErrorCode::invalid_input);
  CHECK(damaged.error().message.find("chars.json:1:2: ") != std::string::npos);
}
