// The example's data: what the README says of it holds, for the program as it was built.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <string>

namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

/// A directory of the test's own, gone with it.
struct Scratch {
  fs::path path = fs::temp_directory_path() / ("pipestill-make-data-" + std::to_string(::getpid()));
  Scratch() { fs::create_directories(path); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { fs::remove_all(path); }
};

/// The exit status.
int make_data(const std::string& arguments) {
  const int status = std::system(("'" MAKE_DATA_PROGRAM "' " + arguments + " >/dev/null 2>&1").c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::string content(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// An independent solution; `add` by its last number alone.
bool is_right(const std::string& prompt, const std::string& answer) {
  std::string task, what;
  std::istringstream(prompt) >> task >> what;
  if (task == "reverse") return answer == std::string(what.rbegin(), what.rend());
  if (task == "sort") return std::ranges::is_sorted(answer) && std::ranges::is_permutation(answer, what);
  if (task == "date") {
    constexpr const char* kMonths = "janfebmaraprmayjunjulaugsepoctnovdec";
    std::string day, month, year;
    std::istringstream(answer) >> day >> month >> year;
    const auto number = std::string(kMonths).find(month) / 3 + 1;
    const auto padded = [](const std::string& text) { return std::string(2 - std::min<std::size_t>(text.size(), 2), '0').append(text); };
    return what == std::string(year).append("-").append(padded(std::to_string(number))).append("-").append(padded(day));
  }
  const auto plus = what.find('+');
  const int sum = std::stoi(what.substr(0, plus)) + std::stoi(what.substr(plus + 1));
  return task == "add" && answer.substr(answer.rfind(':') + 1) == std::to_string(sum);
}

struct Rows {
  std::size_t count = 0, answers = 0;
  std::set<std::string> prompts;
  std::map<std::string, std::size_t> tasks;
};

Rows read(const fs::path& file) {
  Rows rows;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line); ++rows.count) {
    const auto row = json::parse(line);
    const auto& messages = row.at("messages").as_array();
    const std::string prompt(messages.at(0).at("content").as_string());
    rows.prompts.insert(prompt);
    ++rows.tasks[prompt.substr(0, prompt.find(' '))];
    if (messages.size() < 2) continue;
    ++rows.answers;
    if (!is_right(prompt, std::string(messages.at(1).at("content").as_string()))) FAIL_CHECK(line);
  }
  return rows;
}

std::size_t common(const Rows& a, const Rows& b) {
  return static_cast<std::size_t>(std::ranges::count_if(a.prompts, [&](const auto& prompt) { return b.prompts.contains(prompt); }));
}

}  // namespace

TEST_CASE("the splits have their sizes, a uniform mix, right answers and no prompt in common") {
  const Scratch scratch;
  const auto directory = scratch.path / "new" / "data";
  REQUIRE(make_data(directory.string()) == 0);
  const auto train = read(directory / "train.jsonl"), validation = read(directory / "validation.jsonl");
  const auto test = read(directory / "test.jsonl"), teacher = read(directory / "teacher_train.jsonl");
  CHECK(train.count == 64000);
  CHECK(train.answers == 0);
  CHECK(teacher.count == 160000);
  CHECK(teacher.answers == 160000);
  for (const auto* rows : {&validation, &test}) {
    CHECK(rows->count == 1000);
    CHECK(rows->answers == 1000);
    CHECK(rows->prompts.size() == 1000);
  }
  for (const auto* rows : {&train, &validation, &test, &teacher}) {
    CHECK(rows->tasks.size() == 4);
    for (const auto& [task, count] : rows->tasks) {
      CAPTURE(task);
      CHECK(count * 5 > rows->count);       // more than 20 %
      CHECK(count * 10 < rows->count * 3);  // less than 30 %
    }
  }
  CHECK(common(train, validation) + common(train, test) + common(validation, test) + common(teacher, validation) + common(teacher, test) ==
        0);

  // Another seed draws other rows from the same splits.
  const auto other = scratch.path / "other";
  REQUIRE(make_data(other.string() + " --seed 5") == 0);
  const auto other_train = read(other / "train.jsonl");
  CHECK(content(other / "train.jsonl") != content(directory / "train.jsonl"));
  CHECK(common(other_train, validation) + common(other_train, test) == 0);
}

TEST_CASE("the same seed writes the same bytes") {
  const Scratch scratch;
  for (const auto* name : {"a", "b"}) REQUIRE(make_data((scratch.path / name).string() + " --seed 3") == 0);
  for (const auto* file : {"train.jsonl", "validation.jsonl", "test.jsonl", "teacher_train.jsonl"}) {
    CHECK(content(scratch.path / "a" / file) == content(scratch.path / "b" / file));
  }
  // Not only twice here, but everywhere: the first row of the default seed.
  REQUIRE(make_data((scratch.path / "c").string()) == 0);
  const auto test = content(scratch.path / "c" / "test.jsonl");
  CHECK(test.substr(0, test.find('\n')) ==
        R"({"messages":[{"role":"user","content":"add 24+9"},{"role":"assistant","content":"4+9=13,2+0+1=3:33"}]})");
}

TEST_CASE("wrong arguments and places that cannot be written are exit status 2") {
  const Scratch scratch;
  CHECK(make_data("--help") == 0);
  CHECK(make_data("") == 2);
  CHECK(make_data("a b") == 2);
  CHECK(make_data("--what") == 2);
  const auto directory = scratch.path.string();
  CHECK(make_data(directory + " --seed") == 2);
  CHECK(make_data(directory + " --seed -1") == 2);
  CHECK(make_data(directory + " --seed 18446744073709551616") == 2);
  std::ofstream(scratch.path / "file") << "x";
  CHECK(make_data(directory + "/file/data") == 2);
  fs::create_directories(scratch.path / "taken" / "train.jsonl");  // a directory where a file should go
  CHECK(make_data(directory + "/taken") == 2);
}
