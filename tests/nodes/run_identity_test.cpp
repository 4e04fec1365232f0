#include "nodes/run_identity.hpp"

#include <doctest/doctest.h>

#include "tests/ports/support.hpp"

using namespace pipestill;
using pipestill::testing::TempDir;

TEST_CASE("identity: what changes is refused by name, or taken over with a reason") {
  RunIdentity identity;
  REQUIRE(identity.take_over({{"cpu", "a"}, {"libc", "1"}}, {}));
  CHECK(identity.reasons.empty());
  REQUIRE(identity.take_over({{"cpu", "a"}, {"libc", "1"}}, {}));
  const auto refused = identity.take_over({{"cpu", "b\n"}, {"libc", "1"}}, {});
  REQUIRE(!refused);
  CHECK(refused.error().code == ErrorCode::invalid_input);
  CHECK(refused.error().message == "the run cannot go on as it began: cpu was a, and is b\\u000a now; --allow-changed cpu says that it is meant");
  CHECK(identity.facts.at("cpu") == "a");
  const std::vector<std::string> other{"libc"}, both{"cpu", "libc"};
  CHECK(!identity.take_over({{"cpu", "b"}, {"libc", "2"}}, other));
  REQUIRE(identity.take_over({{"cpu", "b"}}, both));
  CHECK(identity.reasons == std::vector<std::string>{"resumed with another cpu: a before, b then", "resumed with another libc: 1 before, nothing then"});
  REQUIRE(identity.take_over({{"cpu", "b"}}, {}));  // from now on it is what it is
  CHECK(identity.reasons.size() == 2);
}

TEST_CASE("identity: some facts alone are held against what was") {
  RunIdentity identity;
  const IdentityFacts data{{"dataset", "d"}, {"tokenizer", "t"}}, other{{"dataset", "e"}, {"tokenizer", "t"}}, more{{"dataset", "d"}, {"dataset.1", "e"}, {"tokenizer", "t"}};
  CHECK(identity.agrees_with(data, {}));
  REQUIRE(identity.take_over({{"cpu", "a"}, {"dataset", "d"}, {"tokenizer", "t"}}, {}));
  CHECK(identity.agrees_with(data, {}));
  CHECK(identity.agrees_with(other, {}).error().message == "the run cannot go on as it began: dataset was d, and is e now; --allow-changed dataset says that it is meant");
  CHECK(identity.agrees_with(other, std::vector<std::string>{"dataset"}));
  CHECK(identity.agrees_with(more, {}).error().message.find("dataset.1 was nothing") != std::string::npos);
  CHECK(identity.facts.at("dataset") == "d");
}

TEST_CASE("identity: to a file and back, and a file that is none") {
  const TempDir dir;
  CHECK(RunIdentity::read(dir.path() / "none").value().facts.empty());
  const RunIdentity identity{{{"cpu", "a \"b\""}}, {"because"}, {{0, RunIdentity::fresh_name(), {{"seed", 1}}, {{"dataset", "d"}}}, {8, RunIdentity::fresh_name(), {{"seed", 2}}, {{"dataset", "e"}}}}};
  REQUIRE(identity.write(dir.path() / "identity.json"));
  const auto read = RunIdentity::read(dir.path() / "identity.json");
  REQUIRE(read);
  CHECK(read->facts == identity.facts);
  CHECK(read->reasons == identity.reasons);
  CHECK(read->parts == identity.parts);
  CHECK(identity.parts[0].name.size() == 32);
  CHECK(identity.parts[0].name != identity.parts[1].name);
  for (const char* wrong : {"{", "[]", "{}", R"({"parts":[],"identity":[],"reasons":[]})", R"({"parts":[],"identity":{"a":1},"reasons":[]})", R"({"parts":[],"identity":{},"reasons":[1]})",
                            R"({"parts":1,"identity":{},"reasons":[]})", R"({"identity":{},"reasons":[]})", R"({"parts":[1],"identity":{},"reasons":[]})",
                            R"({"parts":[{"from":0,"name":"a"}],"identity":{},"reasons":[]})", R"({"parts":[{"from":1,"name":"a","recipe":{},"data":{}}],"identity":{},"reasons":[]})",
                            R"({"parts":[{"from":-1,"name":"a","recipe":{},"data":{}}],"identity":{},"reasons":[]})", R"({"parts":[{"from":0,"name":1,"recipe":{},"data":{}}],"identity":{},"reasons":[]})",
                            R"({"parts":[{"from":0,"name":"a","recipe":{},"data":{}},{"from":8,"name":"b","recipe":{},"data":{}},{"from":7,"name":"c","recipe":{},"data":{}}],"identity":{},"reasons":[]})"}) {
    CAPTURE(std::string(wrong));
    const auto refused = RunIdentity::read(dir.write("wrong.json", wrong));
    REQUIRE(!refused);
    CHECK(refused.error().code == ErrorCode::invalid_input);
    CHECK(refused.error().message.find("wrong.json") != std::string::npos);
  }
}

TEST_CASE("identity: a run's parts, and what becomes of them when it goes on before one of them began") {
  RunIdentity identity;
  CHECK(identity.parts_with_batches().empty());
  identity.parts = {{0, "a", {}}, {4, "b", {}}, {4, "c", {}}, {9, "d", {}}};
  using Names = std::map<std::uint64_t, std::string>;
  const auto with_batches = [&] {
    Names names;
    for (const auto& part : identity.parts_with_batches()) CHECK(names.emplace(part.from, part.name).second);
    return names;
  };
  CHECK(with_batches() == Names{{0, "a"}, {4, "c"}, {9, "d"}});
  CHECK(identity.names() == with_batches());
  identity.cut_back(6);
  CHECK(with_batches() == Names{{0, "a"}, {4, "c"}, {6, "d"}});
  identity.cut_back(20);
  CHECK(identity.parts.back().from == 6);
  identity.cut_back(4);
  CHECK(identity.names() == Names{{0, "a"}, {4, "d"}});
  CHECK(with_batches() == identity.names());
  identity.cut_back(0);
  CHECK(with_batches() == Names{{0, "d"}});
}
