// make_data: the example's four little tasks, as files of rows. The same seed gives the same bytes everywhere.
#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <pcg_random.hpp>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace {

constexpr const char* kHelp =
    R"(make_data OUTDIR [--seed N]
Writes the data of the example: OUTDIR/train.jsonl, validation.jsonl, test.jsonl and teacher_train.jsonl.
Four tasks, equally often: "reverse kitten", "sort 64198", "date 1986-08-13" and "add 50+72". No prompt of one of the
splits train, validation and test occurs in another; teacher_train.jsonl is drawn from the prompts of train.
  --seed N   another draw from the same splits (0 to 2^64 - 1; 0)
Example: make_data examples/tasks/data
)";

/// Whole numbers from the PCG generator itself: the distributions of <random> differ between standard libraries.
class Random {
 public:
  Random(std::uint64_t seed, std::uint64_t stream) : generator_(seed, stream) {}
  /// From `low` to `high`, both included, equally likely.
  int between(int low, int high) { return low + static_cast<int>(generator_(static_cast<std::uint64_t>(high - low + 1))); }

 private:
  pcg64 generator_;
};

struct Exercise {
  std::string prompt, answer;
};

std::string letters(Random& random, char first, char last) {
  std::string text(static_cast<std::size_t>(random.between(3, 6)), ' ');
  for (auto& c : text) c = static_cast<char>(random.between(first, last));
  return text;
}

Exercise reverse(Random& random) {
  const auto word = letters(random, 'a', 'z');
  return {"reverse " + word, {word.rbegin(), word.rend()}};
}

Exercise sort(Random& random) {
  const auto digits = letters(random, '0', '9');
  auto sorted = digits;
  std::ranges::sort(sorted);
  return {"sort " + digits, sorted};
}

Exercise date(Random& random) {
  constexpr std::array kMonths = {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"};
  const int year = random.between(1950, 2049), month = random.between(1, 12), day = random.between(1, 28);
  const auto two_digits = [](int n) {
    std::string text(n < 10 ? "0" : "");
    return text += std::to_string(n);
  };
  return {"date " + std::to_string(year) + "-" + two_digits(month) + "-" + two_digits(day),
          std::to_string(day) + " " + kMonths[static_cast<std::size_t>(month - 1)] + " " + std::to_string(year)};
}

/// The answer shows the work, ones first, tens with the carry: a model this small does not add two numbers in one go.
Exercise add(Random& random) {
  const int a = random.between(0, 99), b = random.between(0, 99);
  const int ones = a % 10 + b % 10, carry = ones / 10, tens = a / 10 + b / 10 + carry;
  const auto text = [](int n) { return std::to_string(n); };
  return {"add " + text(a) + "+" + text(b), text(a % 10) + "+" + text(b % 10) + "=" + text(ones) + "," + text(a / 10) + "+" + text(b / 10) +
                                                "+" + text(carry) + "=" + text(tens) + ":" + text(a + b)};
}

enum class Split { train, validation, test };

/// A property of the prompt alone, so that no seed moves a prompt from one split to another. FNV-1a, its high bits folded in.
Split split_of(std::string_view prompt) {
  std::uint64_t hash = 14695981039346656037U;
  for (const char c : prompt) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  switch ((hash ^ (hash >> 29U)) % 10) {
    case 0:
      return Split::test;
    case 1:
      return Split::validation;
    default:
      return Split::train;
  }
}

Exercise draw(Random& random, Split split) {
  constexpr std::array kTasks = {reverse, sort, date, add};
  const auto task = kTasks[static_cast<std::size_t>(random.between(0, 3))];
  for (;;) {  // within the task, so that the mix is uniform in every split
    auto exercise = task(random);
    if (split_of(exercise.prompt) == split) return exercise;
  }
}

/// Prompts and answers are letters, digits and signs that JSON takes as they are.
std::string row_of(const Exercise& exercise, bool with_answer) {
  std::string row = R"({"messages":[{"role":"user","content":")" + exercise.prompt + "\"}";
  if (with_answer) row += R"(,{"role":"assistant","content":")" + exercise.answer + "\"}";
  return row + "]}\n";
}

struct File {
  const char* name;
  Split split;
  std::size_t rows;
  bool is_distinct;   ///< no prompt twice
  bool with_answers;  ///< without: the student learns from the teacher's answers alone
};

constexpr std::array kFiles = {
    File{"train.jsonl", Split::train, 64'000, false, false}, File{"validation.jsonl", Split::validation, 1'000, true, true},
    File{"test.jsonl", Split::test, 1'000, true, true}, File{"teacher_train.jsonl", Split::train, 160'000, false, true}};

/// True if everything could be written.
bool write(const std::filesystem::path& directory, const File& file, Random random) {
  std::ofstream out(directory / file.name, std::ios::binary | std::ios::trunc);
  std::set<std::string> seen;
  for (std::size_t row = 0; row < file.rows;) {
    const auto exercise = draw(random, file.split);
    const bool is_new = seen.insert(exercise.prompt).second;
    if (file.is_distinct && !is_new) continue;
    out << row_of(exercise, file.with_answers);
    ++row;
  }
  out.close();
  if (out) std::printf("%s: %zu rows, %zu distinct prompts\n", file.name, file.rows, seen.size());
  return static_cast<bool>(out);
}

int refuse(const std::string& what) {
  std::fprintf(stderr, "make_data: %s\n", what.c_str());
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string_view> arguments(argv + 1, argv + argc);
  std::filesystem::path directory;
  std::uint64_t seed = 0;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const auto argument = arguments[i];
    if (argument == "--help" || argument == "-h") {
      std::fputs(kHelp, stdout);
      return 0;
    }
    if (argument == "--seed") {
      const auto text = i + 1 < arguments.size() ? arguments[++i] : std::string_view();
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
      if (error != std::errc() || end != text.data() + text.size()) {
        return refuse("--seed takes a whole number from 0 to 2^64 - 1, not \"" + std::string(text) + "\"");
      }
    } else if (argument.starts_with("-") || argument.empty() || !directory.empty()) {
      return refuse("unexpected argument \"" + std::string(argument) + "\"; see make_data --help");
    } else {
      directory = argument;
    }
  }
  if (directory.empty()) return refuse("the directory to write to is missing; see make_data --help");

  std::error_code failure;
  std::filesystem::create_directories(directory, failure);
  if (failure) return refuse("cannot make the directory " + directory.string() + ": " + failure.message());
  std::uint64_t stream = 0;
  for (const auto& file : kFiles) {
    if (!write(directory, file, Random(seed, ++stream))) {
      return refuse("cannot write " + (directory / file.name).string() +
                    "; choose a directory with permission to write and room for 20 MB");
    }
  }
  return 0;
}
