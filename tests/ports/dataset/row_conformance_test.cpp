// Rows of datasets as they are found, and the prompts that they hold.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "ports/dataset/conversation.hpp"
#include "tests/support/conformance.hpp"

TEST_CASE("a row's prompt is found where the reference finds it") {
  using namespace pipestill;
  const auto dir = test::conformance_dir();
  if (!dir) {
    MESSAGE(test::kNoConformance);
    return;
  }
  const auto data = test::read_json(*dir / "dataset_row_cases.json");
  int cases = 0;
  for (const auto& c : data.at("cases").as_array()) {
    const std::string id(c.at("id").as_string());
    CAPTURE(id);
    std::vector<Message> expected;
    REQUIRE(c.at("expect").as_array().size() == 1);
    for (const auto& message : c.at("expect").as_array()[0].as_array())
      expected.push_back({std::string(message.at("role").as_string()), std::string(message.at("content").as_string())});
    const auto messages = prompt_conversation({c.at("row").as_object(), "row"});
    REQUIRE(messages);
    CHECK(*messages == expected);
    ++cases;
  }
  CHECK(cases > 0);
  MESSAGE("dataset_row_cases.json: " << cases << " rows");
}
